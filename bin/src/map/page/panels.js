// What stands around the map: controls, figures, legend, days and lists. Text from the data goes in as text, never as markup.

const byId = (id) => document.getElementById(id);

/** An element with attributes and children; strings become text. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key === 'on') for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function radios(holder, name, options, change) {
  const row = make('div', { class: 'segments' });
  options.forEach(([value, text]) => {
    const input = make('input', { type: 'radio', name, value, id: `${name}-${value}`, on: { change: () => change(value) } });
    row.append(input, make('label', { for: `${name}-${value}` }, text));
  });
  holder.append(row);
}

function fill(select, options, change) {
  select.replaceChildren(...options.map(([value, text]) => make('option', { value }, text)));
  select.onchange = () => change(Number(select.value));
}

/** Metres across a hexagon, corner to corner, by resolution: H3's mean edge lengths (h3geo.org, "Tables of Cell Statistics"). */
const HEXAGON_M = [1281256, 483057, 182513, 68979, 26072, 9854, 3725, 1406, 531, 201, 76, 29, 11, 4, 2, 1].map((edge) => 2 * edge);

function buildControls() {
  fill(byId('measure'), MEASURES.map((measure, index) => [index, measure.label]).filter(([index]) => data.bucket_days === 1 || MEASURES[index].kind !== 'day'),
    (index) => update({ measure: MEASURES[index] }));
  const currencies = data.currencies.map((code, index) => [index, code === NO_CURRENCY ? 'none' : code]);
  fill(byId('currency'), [[-1, 'All'], ...currencies], (currency) => update({ currency }));
  byId('currency-label').hidden = data.currencies.length < 2;
  radios(byId('resolution'), 'layer', data.layers.map((layer, index) => [index, metres(HEXAGON_M[layer.resolution])]), (layer) => update({ layer, cell: -1 }));
  byId('resolution').hidden = data.layers.length < 2;
  fill(byId('place'), [[-1, 'Everywhere'], ...places.map((place, index) => [index, place.name])], (place) => { update({ place }); fitPlace(); });
  byId('place-label').hidden = places.length < 2;
  byId('mode').hidden = !data.baseline;
  radios(byId('mode'), 'view', [[0, 'Now'], [1, 'Change']], (compare) => update({ compare: compare === 1, tab: compare ? 'changes' : state.tab === 'changes' ? 'gaps' : state.tab }));
  for (const name of ['stores', 'reach', 'gaps']) byId(`show-${name}`).onchange = (event) => { state[name] = event.target.checked; draw(); };
  byId('spans').replaceChildren(...[1, 7, 28, 0].filter((span) => span === 0 || (span < data.dates.length * data.bucket_days && span % data.bucket_days === 0)).map((span) => {
    const length = span ? span / data.bucket_days : data.dates.length;
    return make('button', { type: 'button', 'data-length': length, on: { click: () => {
      const end = span ? Math.max(state.to, length - 1) : length - 1;
      update({ from: end - length + 1, to: end });
    } } }, span === 0 ? 'All' : span === 1 ? '1 day' : `${span} days`);
  }));
}

/** Controls show the state, however it came about; they are not made anew, so that focus stays where it is. */
function syncControls() {
  byId('measure').value = MEASURES.indexOf(state.measure);
  byId('currency').value = state.currency;
  byId('place').value = state.place;
  byId(`layer-${state.layer}`).checked = true;
  byId(`view-${state.compare ? 1 : 0}`).checked = true;
  for (const button of byId('spans').children) button.setAttribute('aria-pressed', String(state.to - state.from + 1 === Number(button.dataset.length)));
}

// ---- Figures --------------------------------------------------------------------------------------------------------------

function totals(sumsOf) {
  const result = {};
  for (const column of SUMS) result[column] = sumsOf[column].reduce((sum, value) => sum + value, 0);
  result.cells = sumsOf.rows.reduce((count, rows) => count + (rows > 0), 0);
  return result;
}

function revenueLines() {
  const { layer, here } = shown, result = new Float64Array(data.currencies.length);
  for (let row = layer.begins[state.from]; row < layer.begins[state.to + 1]; row += 1) if (!here || here[layer.rows.cell[row]]) result[layer.rows.currency[row]] += layer.rows.revenue[row] || 0;
  return data.currencies.map((code, index) => [code, result[index], index]).filter(([, cents, index]) => cents !== 0 && (state.currency < 0 || state.currency === index));
}

function showFigures() {
  const now = totals(shown.total), then = shown.baseline && totals(shown.baseline);
  const delta = (key) => then && then[key] ? make('small', { class: 'delta' }, `${now[key] >= then[key] ? '▲' : '▼'} ${percent(Math.abs(now[key] / then[key] - 1))}`) : null;
  const points = (value, before) => then && make('small', { class: 'delta' }, `${value >= before ? '▲' : '▼'} ${formatter({ maximumFractionDigits: 1 }).format(Math.abs(value - before) * 100)} pp`);
  const tile = (id, name, value, exact, ...more) => make('div', { class: 'tile', id: `figure-${id}` }, make('span', { class: 'name' }, name), make('strong', { title: exact }, value), ...more);
  const share = (part, all) => (all ? part / all : 0);
  const lines = revenueLines();
  byId('figures').replaceChildren(
    tile('orders', 'Orders', whole(now.orders), null, delta('orders')),
    tile('revenue', 'Revenue', lines.length === 1 ? money(lines[0][1], lines[0][0], true) : lines.length ? '' : '–', lines.length === 1 ? money(lines[0][1], lines[0][0]) : null, lines.length === 1 ? delta('revenue')
      : make('span', { class: 'lines' }, ...lines.map(([code, cents]) => make('span', { title: money(cents, code) }, money(cents, code, true))))),
    tile('late', 'Late', percent(share(now.late, now.completed)), null, then && points(share(now.late, now.completed), share(then.late, then.completed))),
    tile('cancelled', 'Cancelled', percent(share(now.cancelled, now.orders)), null, then && points(share(now.cancelled, now.orders), share(then.cancelled, then.orders))),
    tile('new', 'New customers', whole(now.new_customers), null, delta('new_customers')),
    tile('cells', 'Cells served', whole(now.cells), null, delta('cells')),
  );
}

/** How many cells are hatched. */
function hiddenCells() {
  return shown.hidden.reduce((count, times, cell) => count + (times > 0 && (shown.status !== null || !shown.total.rows[cell])), 0);
}

/** Why some cells have no numbers, in words; empty if all have. */
function hiddenWords() {
  const count = hiddenCells();
  return count ? `Without numbers: ${whole(count)} cells of fewer than ${whole(data.k_anonymity)} customers, or that would tell of such. They are hatched, and not among the sums.` : '';
}

// ---- Legend ---------------------------------------------------------------------------------------------------------------

function showLegend() {
  const { classes: found } = shown, items = [], measure = state.measure;
  const swatch = (color, text, count, mark = '') => items.push(make('li', {}, make('i', { style: `background:${color}`, 'aria-hidden': 'true' }, mark), make('span', {}, text), make('b', { title: 'Cells' }, whole(count))));
  const round = (value) => (measure.money && measure.kind === 'sum' ? show(measure, value, true).replace(/^[A-Z]{3}\s/, '') : show(measure, value, true));
  if (shown.status) {
    const count = (status) => shown.status.filter((value) => value === status).length;
    swatch(colors.gain[2], 'won', count('won'), '+');
    swatch(`linear-gradient(90deg, ${colors.gain[0]} 50%, ${colors.gain[1]} 50%)`, 'grown', count('grown'));
    swatch(colors.same, 'the same', count('same'));
    swatch(`linear-gradient(90deg, ${colors.loss[0]} 50%, ${colors.loss[1]} 50%)`, 'shrunk', count('shrunk'));
    swatch(colors.loss[2], 'lost', count('lost'), '×');
    byId('legend-title').textContent = `Change of ${measure.label.toLowerCase()}`;
  } else {
    const counts = new Uint32Array(found.limits.length + 1);
    let none = 0;
    shown.values.forEach((value, cell) => { if (!Number.isNaN(value)) counts[classOf(found.limits, value)] += 1; else if (shown.total.rows[cell]) none += 1; });
    if (!Number.isNaN(found.least)) {
      const edges = [found.least, ...found.limits, found.most];
      const isCount = !measure.money && (measure.kind === 'sum' || (measure.kind === 'day' && !measure.unit));
      counts.forEach((count, index) => {
        const last = index === counts.length - 1, upper = isCount && !last ? edges[index + 1] - 1 : edges[index + 1];
        const text = edges[index] === upper ? round(upper) : `${round(edges[index])} – ${round(upper)}`;
        swatch(pick(colors.ramp, index, counts.length), text, count);
      });
    }
    if (none) swatch(colors.none, 'no value', none);
    byId('legend-title').textContent = measure.label + (measure.money && moneyCurrency() >= 0 ? ` (${data.currencies[moneyCurrency()]})` : '');
  }
  const without = hiddenCells();
  if (without) swatch(`repeating-linear-gradient(-45deg, ${colors.none} 0 2px, transparent 2px 5px)`, 'few customers: no numbers', without);
  byId('legend').replaceChildren(...items);
}

// ---- Days -----------------------------------------------------------------------------------------------------------------

let lastBars = { key: '', heights: null };
/** What each bucket comes to, for the bars. The chosen days do not change it. */
function bars() {
  const key = [state.layer, state.currency, state.place, state.measure.id].join();
  if (lastBars.key !== key) lastBars = { key, heights: countBars() };
  return lastBars.heights;
}

function countBars() {
  const { rows } = shown.layer, column = state.measure.kind === 'sum' ? state.measure.column : 'orders', paid = moneyCurrency();
  const result = new Float64Array(data.dates.length);
  for (let row = 0; row < rows.bucket.length; row += 1) {
    if (state.currency >= 0 && rows.currency[row] !== state.currency) continue;
    if ((column === 'revenue' && rows.currency[row] !== paid) || (shown.here && !shown.here[rows.cell[row]])) continue;
    result[rows.bucket[row]] += rows[column][row] || 0;
  }
  return result;
}

function showDays() {
  const heights = bars(), most = Math.max(...heights, 1), svg = byId('bars'), count = data.dates.length;
  svg.setAttribute('viewBox', `0 0 ${count} 100`);
  svg.replaceChildren(...Array.from(heights, (height, index) => {
    const bar = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
    const tall = height > 0 ? Math.max(3, 100 * height / most) : 0;
    for (const [key, value] of Object.entries({ x: index + 0.1, width: 0.8, y: 100 - tall, height: tall, class: index >= state.from && index <= state.to ? 'in' : 'out' })) bar.setAttribute(key, value);
    return bar;
  }));
  const from = byId('from'), to = byId('to');
  from.max = to.max = count - 1;
  from.value = state.from;
  to.value = state.to;
  from.setAttribute('aria-valuetext', weekdayFormat.format(instant(data.dates[state.from])));
  to.setAttribute('aria-valuetext', weekdayFormat.format(endOf(state.to)));
  const text = spanText(instant(data.dates[state.from]), endOf(state.to));
  const days = Math.round((endOf(state.to) - instant(data.dates[state.from])) / DAY) + 1;
  byId('time-text').replaceChildren(make('strong', {}, text), ' ', make('span', {}, days === 1 ? '' : `${whole(days)} days`),
    ...(state.compare ? [make('span', { class: 'versus' }, ` against ${spanText(shown.span.begin, shown.span.end)}${shown.span.last < shown.span.first ? ' (no data)' : ''}`)] : []));
}

// ---- A cell in words ------------------------------------------------------------------------------------------------------

function describeCell(cell) {
  const { layer, total } = shown, lines = [];
  const add = (name, value) => lines.push([name, value]);
  if (shown.hidden[cell] && !total.rows[cell]) {
    add('Numbers', `not shown: fewer than ${whole(data.k_anonymity)} customers, or it would tell of such a cell`);
    return { title: `Cell ${layer.cells[cell]}`, lines };
  }
  if (shown.why === null) add(state.measure.label, show(state.measure, shown.values[cell]));
  if (shown.status && shown.status[cell]) {
    add('Before', show(state.measure, shown.before[cell]));
    add('Cell', shown.status[cell] === 'same' ? 'the same' : shown.status[cell]);
  }
  if (state.measure.column !== 'orders') add('Orders', whole(total.orders[cell]));
  const paid = moneyCurrency();
  if (paid >= 0 && !state.measure.money) add('Revenue', money(total.revenue[cell], data.currencies[paid]));
  if (total.orders[cell]) add('Cancelled', `${whole(total.cancelled[cell])} (${percent(total.cancelled[cell] / total.orders[cell])})`);
  if (total.completed[cell]) add('Late', `${whole(total.late[cell])} (${percent(total.late[cell] / total.completed[cell])})`);
  if (shown.hidden[cell]) add('Not counted', data.dates.length > 1 ? 'days of few customers' : 'what few customers ordered');
  const gap = data.gaps.cell.indexOf(layer.cells[cell]);
  if (gap >= 0) add('Gap', `rank ${whole(data.gaps.rank[gap])}: ${reasons(gap)}`);
  return { title: `Cell ${layer.cells[cell]}`, lines };
}

function showTip(cell, x, y) {
  const tip = byId('tip');
  if (cell < 0) { tip.hidden = true; return; }
  const { title, lines } = describeCell(cell);
  tip.replaceChildren(make('b', {}, title), make('dl', {}, ...lines.flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value)])));
  tip.hidden = false;
  const width = tip.offsetWidth, height = tip.offsetHeight;
  tip.style.left = `${Math.max(4, Math.min(view.width - width - 4, x + 16 + width > view.width ? x - width - 12 : x + 16))}px`;
  tip.style.top = `${Math.max(4, Math.min(view.height - height - 4, y + 12))}px`;
}

function reasons(gap) {
  const words = [];
  if (data.gaps.out_of_reach[gap]) words.push('out of reach');
  if (data.gaps.cancelled_often[gap]) words.push('often cancelled');
  if (data.gaps.late_often[gap]) words.push('often late');
  return words.join(', ');
}

/** Says something to those who listen. */
function say(text) { byId('live').textContent = text; }
