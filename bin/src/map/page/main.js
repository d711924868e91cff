// What happens when something is pressed, moved or chosen.

/** Takes a change of what is shown, and shows it. */
function update(change) {
  Object.assign(state, change);
  if (state.from > state.to) [state.from, state.to] = [state.to, state.from];
  if (shown && change.layer !== undefined) hovered = -1;
  shown = compute();
  syncControls();
  showFigures();
  showLegend();
  showDays();
  buildTabs();
  showList();
  layOut();
  draw();
  const cannot = byId('cannot'), { why } = shown;
  cannot.hidden = !why;
  if (why) {
    cannot.firstElementChild.textContent = why.text;
    cannot.lastElementChild.textContent = why.act;
    cannot.lastElementChild.onclick = () => update(why.change);
  }
  canvas.setAttribute('aria-label', mapInWords());
  remember();
}

function mapInWords() {
  const count = shown.values.reduce((sum, value) => sum + !Number.isNaN(value), 0);
  const place = state.place < 0 ? '' : ` of ${places[state.place].name}`;
  return `Map${place}: ${state.measure.label.toLowerCase()} in ${whole(count)} cells, ${spanText(instant(data.dates[state.from]), endOf(state.to))}`;
}

function chooseCell(cell, go = false) {
  state.cell = cell;
  state.gap = cell < 0 ? -1 : state.gap;
  if (cell >= 0) {
    const { title, lines } = describeCell(cell);
    say(`${title}. ${lines.map(([name, value]) => `${name}: ${value}`).join('. ')}`);
    if (go) goTo({ ...point(cellCenter(shown.layer, cell)), scale: Math.max(view.scale, scaleFor(HEXAGON_M[shown.layer.resolution] * 9)) });
    else draw();
    const at = project(...cellCenter(shown.layer, cell));
    if (at) showTip(cell, at[0] + view.width / 2, at[1] + view.height / 2);
  } else {
    showTip(-1);
    draw();
  }
  markChosen();
}

const point = ([lat, lng]) => ({ lat, lng });
/** The scale at which so many metres fill the smaller side of the map. */
const scaleFor = (length) => Math.min(view.width, view.height) / length * EARTH_RADIUS_M;

function chooseGap(gap) {
  state.gap = gap;
  state.cell = -1;
  if (!state.gaps) { state.gaps = true; byId('show-gaps').checked = true; }
  showTip(-1);
  goTo({ lat: data.gaps.lat[gap], lng: data.gaps.lng[gap], scale: Math.max(view.scale, scaleFor(9000)) });
  say(`Gap ${whole(data.gaps.rank[gap])}: ${reasons(gap)}, ${data.gaps.attempts[gap] === null ? `${whole(data.gaps.customers[gap])} customers` : `${whole(data.gaps.attempts[gap])} orders`}, nearest store ${storeName(data.gaps.nearest_store[gap])}`);
  markChosen();
}

function chooseStore(store) {
  state.store = state.store === store ? -1 : store;
  const found = data.stores[store];
  if (state.store >= 0) {
    goTo({ lat: found.lat, lng: found.lng, scale: scaleFor(3.2 * Math.max(found.radius || 0, 1500)) });
    say(`${found.name}, ${found.radius ? `reach ${metres(found.radius)}` : 'reach unknown'}`);
  } else draw();
  markChosen();
}

// ---- Pointers -------------------------------------------------------------------------------------------------------------

const pointers = new Map();
let moved = 0;

const local = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };

canvas.addEventListener('pointerdown', (event) => {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, local(event));
  if (pointers.size === 1) moved = 0;
});
canvas.addEventListener('pointermove', (event) => {
  const [x, y] = local(event), before = pointers.get(event.pointerId);
  if (!before) {
    const found = cellAt(x - view.width / 2, y - view.height / 2);
    if (found !== hovered) { hovered = found; draw(); }
    showTip(found, x, y);
    return;
  }
  const others = [...pointers.entries()].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
  moved += Math.hypot(x - before[0], y - before[1]);
  if (others.length) {
    const [ox, oy] = others[0], factor = Math.hypot(x - ox, y - oy) / Math.max(1, Math.hypot(before[0] - ox, before[1] - oy));
    const cx = (x + ox) / 2 - view.width / 2, cy = (y + oy) / 2 - view.height / 2;
    drag.x = cx - (cx - drag.x) * factor;
    drag.y = cy - (cy - drag.y) * factor;
    drag.zoom *= factor;
  } else {
    drag.x += x - before[0];
    drag.y += y - before[1];
  }
  pointers.set(event.pointerId, [x, y]);
  if (moved > 3) { showTip(-1); draw(); }
});
function release(event) {
  if (!pointers.delete(event.pointerId)) return;
  if (pointers.size) return;
  if (moved > 3) { settle(); return; }
  drag.x = 0; drag.y = 0; drag.zoom = 1;
  if (event.type !== 'pointerup') return;
  const [x, y] = local(event), mx = x - view.width / 2, my = y - view.height / 2;
  const disc = screen.size < 2.5 && places.findIndex((place) => place.disc && Math.hypot(place.disc.at[0] - mx, place.disc.at[1] - my) < place.disc.radius + 4);
  if (typeof disc === 'number' && disc >= 0) { update({ place: disc }); fitPlace(); return; }
  const store = data.stores.findIndex((candidate) => { const at = state.stores && project(candidate.lat, candidate.lng); return at && Math.hypot(at[0] - mx, at[1] - my) < 9; });
  if (store >= 0 && store !== state.store) { state.tab = 'stores'; buildTabs(); showList(); chooseStore(store); return; }
  chooseCell(cellAt(mx, my));
}
canvas.addEventListener('pointerup', release);
canvas.addEventListener('pointercancel', release);
canvas.addEventListener('pointerleave', () => { if (!pointers.size && hovered >= 0) { hovered = -1; showTip(-1); draw(); } });
canvas.addEventListener('wheel', (event) => {
  event.preventDefault();
  const [x, y] = local(event);
  showTip(-1);
  zoomBy(Math.exp(-Math.max(-200, Math.min(200, event.deltaY)) * 0.003), x - view.width / 2, y - view.height / 2);
}, { passive: false });

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
canvas.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const arrow = ARROWS[event.key];
  if (arrow && event.shiftKey) { drag.x = -80 * arrow[0]; drag.y = -80 * arrow[1]; showTip(-1); settle(); }
  else if (arrow) {
    const next = neighbour(...arrow);
    if (next < 0) return event.preventDefault();
    const at = project(...cellCenter(shown.layer, next)), away = !at || Math.abs(at[0]) > view.width / 2 - 30 || Math.abs(at[1]) > view.height / 2 - 30;
    if (away && at) { [drag.x, drag.y] = [-at[0], -at[1]]; settle(); }
    chooseCell(next);
  } else if (event.key === '+' || event.key === '=') zoomBy(1.5);
  else if (event.key === '-') zoomBy(1 / 1.5);
  else if (event.key === '0') fitPlace();
  else if (event.key === 'Enter' && state.cell >= 0) chooseCell(state.cell, true);
  else if (event.key === 'Escape') chooseCell(-1);
  else return undefined;
  event.preventDefault();
  return undefined;
});
byId('zoom-in').onclick = () => zoomBy(1.6);
byId('zoom-out').onclick = () => zoomBy(1 / 1.6);
byId('zoom-fit').onclick = fitPlace;

// ---- Days -----------------------------------------------------------------------------------------------------------------

byId('from').oninput = (event) => { const value = Number(event.target.value); update({ from: Math.min(value, state.to) }); };
byId('to').oninput = (event) => { const value = Number(event.target.value); update({ to: Math.max(value, state.from) }); };
/** A press on the bars, beside the thumbs, moves the nearer end there. */
byId('bars').parentElement.addEventListener('pointerdown', (event) => {
  if (event.target.tagName === 'INPUT') return;
  const box = byId('bars').getBoundingClientRect(), day = Math.max(0, Math.min(data.dates.length - 1, Math.floor((event.clientX - box.left) / box.width * data.dates.length)));
  update(state.from === state.to ? { from: day, to: day } : Math.abs(day - state.from) < Math.abs(day - state.to) ? { from: day } : { to: day });
});

let playing = 0;
function stop() {
  clearInterval(playing);
  playing = 0;
  byId('play').textContent = '▶';
  byId('play').setAttribute('aria-pressed', 'false');
}
byId('play').onclick = () => {
  if (playing) { stop(); return; }
  byId('play').textContent = '❚❚';
  byId('play').setAttribute('aria-pressed', 'true');
  const length = state.to - state.from, all = data.dates.length;
  const begin = length + 1 >= all ? { from: 0, to: 0 } : state.to + 1 >= all ? { from: 0, to: length } : {};
  update(begin);
  playing = setInterval(() => {
    if (state.to + 1 >= all) stop();
    else update({ from: state.from + 1, to: state.to + 1 });
  }, 600);
};

// ---- Look, address, notes -------------------------------------------------------------------------------------------------

const THEMES = ['auto', 'light', 'dark'];
let theme = 'auto';
function setTheme(name) {
  theme = name;
  if (name === 'auto') delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = name;
  byId('theme').textContent = { auto: '◐', light: '☀', dark: '☾' }[name];
  byId('theme').setAttribute('aria-label', `Colours: ${name}. Press for ${THEMES[(THEMES.indexOf(name) + 1) % 3]}.`);
  readColors();
  if (shown) { showLegend(); layOut(); draw(); }
}
byId('theme').onclick = () => { setTheme(THEMES[(THEMES.indexOf(theme) + 1) % 3]); remember(); };
window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => setTheme(theme));

/** The choice stands in the address, so that it can be sent to somebody who has the file. */
function remember() {
  const words = { m: state.measure.id, r: data.layers[state.layer].resolution, c: state.currency < 0 ? '' : data.currencies[state.currency], f: data.dates[state.from], t: data.dates[state.to], p: state.place < 0 ? '' : places[state.place].name, v: state.compare ? 'change' : '', look: theme === 'auto' ? '' : theme };
  const text = Object.entries(words).filter(([, value]) => value !== '').map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join('&');
  try { history.replaceState(null, '', `#${text}`); } catch { /* a page without an address of its own has nothing to remember in */ }
}

function recall() {
  const words = new URLSearchParams(location.hash.slice(1)), change = {};
  const at = (list, test) => { const index = list.findIndex(test); return index >= 0 ? index : null; };
  const take = (key, index) => { if (index !== null) change[key] = index; };
  const measure = MEASURES.find((candidate) => candidate.id === words.get('m'));
  if (measure && (measure.kind !== 'day' || data.bucket_days === 1)) change.measure = measure;
  take('layer', at(data.layers, (layer) => String(layer.resolution) === words.get('r')));
  if (data.currencies.length > 1) take('currency', at(data.currencies, (code) => code === words.get('c')));
  take('from', at(data.dates, (date) => date === words.get('f')));
  take('to', at(data.dates, (date) => date === words.get('t')));
  take('place', at(places, (place) => place.name === words.get('p')));
  if (data.baseline && words.get('v') === 'change') Object.assign(change, { compare: true, tab: 'changes' });
  setTheme(THEMES.includes(words.get('look')) ? words.get('look') : 'auto');
  return change;
}

function notes() {
  byId('subtitle').textContent = [data.project, data.pipeline, spanText(instant(data.from), instant(data.to))].join(' · ');
  document.documentElement.dir = 'ltr';
  const texts = ['Delivery orders with a location, by business date. Hexagons are cells of the H3 grid, drawn in an equal-area projection. Amounts of different currencies are never added.',
    'Means over several days are weighted: delivery times by completed orders, distances by orders. Medians, percentiles, different customers and serving stores hold for one day and are not shown for more.',
    data.k_anonymity > 1 ? `Cells of fewer than ${whole(data.k_anonymity)} customers (in a step of days and a currency) have no numbers, nor have those whose numbers would tell of such; gaps have no counts of orders for the same reason. Sums are of the cells that are shown.` : '',
    ...data.notes, data.run ? `Made of the lake as run ${data.run} left it.` : ''];
  byId('notes').replaceChildren(...texts.filter(Boolean).map((text) => make('p', {}, text)));
}

// ---- Begin ----------------------------------------------------------------------------------------------------------------

notes();
buildControls();
new ResizeObserver(resize).observe(canvas);
resize();
const last = data.dates.length - 1;
const baselineBuckets = data.baseline ? data.baseline.dates.length : 0;
state.layer = Math.max(0, Math.floor(data.layers.length / 2));
Object.assign(state, { from: data.baseline ? Math.max(0, last + 1 - Math.min(baselineBuckets, Math.ceil(28 / data.bucket_days))) : 0, to: last, place: busiestPlace(), compare: Boolean(data.baseline), tab: data.baseline ? 'changes' : 'gaps' });
update(recall());
Object.assign(view, viewOfPlace());
layOut();
draw();
document.documentElement.dataset.ready = 'yes';
