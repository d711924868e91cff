// The lists beside the map: gaps, changes, cells and stores, each sorted by any column and walked through by keyboard.

/** Rows that a list shows; the file's data has all of them. */
const ROWS_MAX = 200;
const sorting = { gaps: ['rank', 1], cells: ['value', -1], stores: ['orders', -1], changes: ['size', -1] };

const storeName = (id) => { const store = data.stores.find((candidate) => candidate.id === id); return store ? store.name : id === null ? '–' : `Store ${whole(id)}`; };

function lists() {
  const all = [['gaps', 'Gaps'], ['cells', 'Cells'], ['stores', 'Stores']];
  if (state.compare) all.unshift(['changes', 'Changes']);
  return all;
}

/** Columns: [key, heading, value of a row, text of a row]; the first value that is a number aligns to the right. */
const LISTS = {
  gaps: {
    rows: () => data.gaps.cell.map((_, index) => index).filter((gap) => state.place < 0 || gapPlace(gap) === state.place),
    columns: () => [
      ['rank', '#', (gap) => data.gaps.rank[gap]],
      ['why', 'Gap', reasons, (gap) => make('span', {}, reasons(gap), make('small', {}, data.gaps.nearest_store[gap] === null ? 'no open store' : `${metres(data.gaps.nearest_m[gap])} to ${storeName(data.gaps.nearest_store[gap])}`))],
      data.k_anonymity > 1 ? ['customers', 'Customers', (gap) => data.gaps.customers[gap]] : ['attempts', 'Orders', (gap) => data.gaps.attempts[gap]],
      ['bad', 'Lost, late', (gap) => data.gaps.cancelled[gap] + data.gaps.late[gap], (gap) => make('span', {}, whole(data.gaps.cancelled[gap] + data.gaps.late[gap]),
        make('small', {}, `${percent(data.gaps.cancelled[gap] / data.gaps.attempts[gap], 0)} lost`))],
      ['lost', 'Lost revenue', (gap) => data.gaps.lost_revenue[gap], (gap) => (data.gaps.lost_revenue[gap] ? money(data.gaps.lost_revenue[gap], data.gaps.currency[gap]) : '–')],
    ].filter(([key]) => key !== 'bad' || data.k_anonymity <= 1),
    note: () => (data.gaps.cell.length ? `${data.k_anonymity > 1 ? `Gaps of ${whole(data.k_anonymity)} customers and more. ` : ''}Cells with demand in the ${data.gap_days} days before ${dayFormat.format(Date.parse(data.as_of))} but no service, or a bad one. The slider does not change them.` : 'No gaps: either the table coverage_gaps is empty, or it was not made yet.'),
    chosen: () => state.gap,
    choose: (gap) => chooseGap(gap),
  },
  cells: {
    rows: () => visibleCells().filter((cell) => !Number.isNaN(shown.values[cell])),
    columns: () => [
      ['value', state.measure.label, (cell) => shown.values[cell], (cell) => show(state.measure, shown.values[cell])],
      ['orders', 'Orders', (cell) => shown.total.orders[cell]],
      ['late', 'Late', (cell) => (shown.total.completed[cell] ? shown.total.late[cell] / shown.total.completed[cell] : -1), (cell) => (shown.total.completed[cell] ? percent(shown.total.late[cell] / shown.total.completed[cell]) : '–')],
      ['cell', 'Cell', (cell) => shown.layer.cells[cell], (cell) => make('code', {}, shown.layer.cells[cell])],
    ].filter(([key]) => key !== 'orders' || state.measure.column !== 'orders'),
    note: () => [shown.why ? shown.why.text : '', hiddenWords()].filter(Boolean).join(' '),
    chosen: () => state.cell,
    choose: (cell) => chooseCell(cell, true),
  },
  changes: {
    rows: () => visibleCells().filter((cell) => shown.status && !Number.isNaN(shown.change[cell]) && shown.change[cell] !== 0),
    columns: () => [
      ['status', 'Cell', (cell) => shown.status[cell], (cell) => make('span', {}, shown.status[cell], make('small', {}, shown.layer.cells[cell]))],
      ['before', 'Before', (cell) => shown.before[cell] || 0, (cell) => show(state.measure, shown.before[cell])],
      ['now', 'Now', (cell) => shown.values[cell] || 0, (cell) => show(state.measure, shown.values[cell])],
      ['size', 'Change', (cell) => Math.abs(shown.change[cell]), (cell) => (shown.change[cell] > 0 ? '+' : '−') + show(state.measure, Math.abs(shown.change[cell]))],
    ],
    note: () => {
      const count = (status) => shown.status ? shown.status.filter((value) => value === status).length : 0;
      return `${whole(count('won'))} won, ${whole(count('lost'))} lost, ${whole(count('grown'))} grown, ${whole(count('shrunk'))} shrunk, against ${data.baseline ? data.baseline.label : ''}. ${hiddenWords()} Both sides cover as many days, counted back from the last day of each.`;
    },
    chosen: () => state.cell,
    choose: (cell) => chooseCell(cell, true),
  },
  stores: {
    rows: () => data.stores.map((_, index) => index).filter((store) => state.place < 0 || data.stores[store].place === state.place),
    columns: () => [
      ['name', 'Store', (store) => data.stores[store].name, (store) => make('span', {}, data.stores[store].name, make('small', {}, [data.stores[store].city, data.stores[store].closed ? 'closed' : data.stores[store].radius ? `reach ${metres(data.stores[store].radius)}` : null].filter(Boolean).join(' · ')))],
      ['orders', 'Orders', (store) => storeSums().orders[store]],
      ['revenue', 'Revenue', (store) => storeSums().revenue[store], (store) => storeRevenue(store)],
      ['late', 'Late', (store) => storeSums().late[store] / (storeSums().completed[store] || 1), (store) => (storeSums().completed[store] ? percent(storeSums().late[store] / storeSums().completed[store]) : '–')],
      ['cancelled', 'Cancelled', (store) => storeSums().cancelled[store] / (storeSums().orders[store] || 1), (store) => (storeSums().orders[store] ? percent(storeSums().cancelled[store] / storeSums().orders[store]) : '–')],
    ],
    note: () => 'Orders of every kind, with pickup and dine-in.',
    chosen: () => state.store,
    choose: (store) => chooseStore(store),
  },
};

function storeSums() {
  if (!shown.stores) {
    const rows = data.store_rows;
    shown.stores = sums(rows, rows.begins[state.from], rows.begins[state.to + 1], rows.store, data.stores.length, ['orders', 'completed', 'cancelled', 'late', 'revenue']);
  }
  return shown.stores;
}

/** A store's revenue in the chosen currency, or in each that it has. */
function storeRevenue(store) {
  const rows = data.store_rows, found = new Map();
  for (let row = rows.begins[state.from]; row < rows.begins[state.to + 1]; row += 1) {
    const currency = rows.currency[row];
    if (rows.store[row] === store && rows.revenue[row] && (state.currency < 0 || state.currency === currency)) found.set(currency, (found.get(currency) || 0) + rows.revenue[row]);
  }
  return make('span', { class: 'lines' }, ...(found.size ? [...found].sort((a, b) => a[0] - b[0]).map(([currency, cents]) => make('span', {}, money(cents, data.currencies[currency], true))) : ['–']));
}

function visibleCells() {
  const result = [];
  for (let cell = 0; cell < shown.layer.cells.length; cell += 1) if (!shown.here || shown.here[cell]) result.push(cell);
  return result;
}

const gapPlaces = [];
function gapPlace(gap) {
  if (gapPlaces[gap] === undefined) {
    const at = unit(data.gaps.lat[gap], data.gaps.lng[gap]);
    let best = -1, nearest = PLACE_REACH_M / EARTH_RADIUS_M;
    for (const store of data.stores) {
      const away = angleBetween(at, unit(store.lat, store.lng));
      if (away < nearest) { nearest = away; best = store.place; }
    }
    gapPlaces[gap] = best;
  }
  return gapPlaces[gap];
}

function buildTabs() {
  const holder = byId('tabs'), all = lists();
  const focused = holder.contains(document.activeElement);
  holder.replaceChildren(...all.map(([id, text]) => make('button', {
    role: 'tab', type: 'button', id: `tab-${id}`, 'aria-controls': 'panel', 'aria-selected': String(id === state.tab), tabindex: id === state.tab ? '0' : '-1',
    on: {
      click: () => { state.tab = id; buildTabs(); showList(); },
      keydown: (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1, Home: -all.length, End: all.length }[event.key];
        if (!step) return;
        event.preventDefault();
        const at = all.findIndex(([candidate]) => candidate === state.tab);
        const next = Math.abs(step) > 1 ? (step < 0 ? 0 : all.length - 1) : (at + step + all.length) % all.length;
        [state.tab] = all[next];
        buildTabs();
        showList();
        byId(`tab-${state.tab}`).focus();
      },
    },
  }, text)));
  if (focused) byId(`tab-${state.tab}`).focus();
  byId('panel').setAttribute('aria-labelledby', `tab-${state.tab}`);
}

function compareBy(value, direction) {
  return (a, b) => {
    const x = value(a), y = value(b);
    const order = typeof x === 'string' || typeof y === 'string' ? String(x).localeCompare(String(y), locale) : x - y;
    return direction * order || a - b;
  };
}

function showList() {
  const list = LISTS[state.tab], columns = list.columns(), panel = byId('panel');
  let [key, direction] = sorting[state.tab];
  if (!columns.some(([candidate]) => candidate === key)) [key] = columns[0];
  const column = columns.find(([candidate]) => candidate === key);
  const all = list.rows().sort(compareBy(column[2], direction)), rows = all.slice(0, ROWS_MAX);
  const chosen = list.chosen(), reachable = rows.includes(chosen) ? chosen : rows[0];
  const numeric = columns.map(([, , value]) => rows.length > 0 && typeof value(rows[0]) === 'number');
  const head = make('tr', {}, ...columns.map(([id, heading], index) => make('th', { scope: 'col', class: numeric[index] ? 'number' : null, 'aria-sort': id === key ? (direction > 0 ? 'ascending' : 'descending') : null },
    make('button', { type: 'button', id: `sort-${id}`, on: { click: () => {
      sorting[state.tab] = [id, id === key ? -direction : numeric[index] && id !== 'rank' ? -1 : 1];
      showList();
      byId(`sort-${id}`).focus();
    } } }, heading, make('span', { 'aria-hidden': 'true' }, id === key ? (direction > 0 ? ' ↑' : ' ↓') : '')))));
  const body = make('tbody', {}, ...rows.map((row) => make('tr', {
    tabindex: row === reachable ? '0' : '-1', 'aria-selected': String(row === chosen), 'data-row': row,
    on: { click: () => list.choose(row), keydown: (event) => walk(event, () => list.choose(row)) },
  }, ...columns.map(([, , value, text], index) => make('td', { class: numeric[index] ? 'number' : null }, text ? text(row) : typeof value(row) === 'number' ? whole(value(row)) : value(row))))));
  const note = list.note();
  panel.replaceChildren(...[
    note && make('p', { class: 'note' }, note),
    rows.length ? make('table', { role: 'grid' }, make('thead', {}, head), body) : make('p', { class: 'note' }, 'Nothing here for this choice.'),
    all.length > rows.length && make('p', { class: 'note' }, `The first ${whole(rows.length)} of ${whole(all.length)}.`),
  ].filter(Boolean));
}

/** Up and down go through rows, Enter and the space bar choose. */
function walk(event, choose) {
  const row = event.currentTarget, rows = [...row.parentElement.children], at = rows.indexOf(row);
  const next = { ArrowDown: rows[at + 1], ArrowUp: rows[at - 1], Home: rows[0], End: rows[rows.length - 1] }[event.key];
  if (next) {
    event.preventDefault();
    rows.forEach((other) => { other.tabIndex = -1; });
    next.tabIndex = 0;
    next.focus();
  } else if (event.key === 'Enter' || event.key === ' ') {
    event.preventDefault();
    choose();
  }
}

/** Marks the chosen row without making the list anew, so that focus stays where it is. */
function markChosen() {
  const chosen = LISTS[state.tab].chosen();
  for (const row of byId('panel').querySelectorAll('tbody tr')) {
    const is = Number(row.dataset.row) === chosen;
    row.setAttribute('aria-selected', String(is));
    if (is && !row.parentElement.contains(document.activeElement)) row.scrollIntoView({ block: 'nearest' });
  }
}
