// The map: one canvas, drawn anew whenever something changes.

const canvas = document.getElementById('map');
const pen = canvas.getContext('2d');
const calm = window.matchMedia('(prefers-reduced-motion: reduce)');
let shown = null;
let screen = null;
let hovered = -1;

/** Colours of the theme, from the style sheet. */
let colors = {};
/** The colour of cells whose numbers are not shown: it stands for a pattern of lines. */
const HATCHED = 'hatched';
let hatch = null;
function hatched() {
  if (!hatch) {
    const tile = document.createElement('canvas'), lines = tile.getContext('2d');
    tile.width = tile.height = 8;
    lines.strokeStyle = colors.none;
    lines.lineWidth = 2;
    lines.beginPath();
    for (const shift of [-8, 0, 8]) { lines.moveTo(shift - 1, 9); lines.lineTo(shift + 9, -1); }
    lines.stroke();
    hatch = pen.createPattern(tile, 'repeat');
  }
  return hatch;
}
function readColors() {
  hatch = null;
  const style = getComputedStyle(document.documentElement), text = (name) => style.getPropertyValue(name).trim();
  const list = (name, count) => Array.from({ length: count }, (_, index) => text(`--${name}-${index + 1}`));
  colors = { ramp: list('ramp', 7), loss: list('loss', 3), gain: list('gain', 3), same: text('--same'), none: text('--none'), ink: text('--ink'), soft: text('--soft'), paper: text('--paper'), line: text('--line'), store: text('--store'), gap: text('--gap'), focus: text('--focus') };
}

function cellColor(cell) {
  const { limits } = shown.classes;
  if (shown.status) {
    const change = shown.change[cell];
    if (Number.isNaN(change)) return shown.hidden[cell] ? HATCHED : shown.status[cell] ? colors.none : null;
    if (change === 0) return colors.same;
    const side = change > 0 ? colors.gain : colors.loss, status = shown.status[cell];
    return status === 'won' || status === 'lost' ? side[2] : side[Math.abs(change) >= limits[0] ? 1 : 0];
  }
  const value = shown.values[cell];
  if (Number.isNaN(value)) return shown.total.rows[cell] ? colors.none : shown.hidden[cell] ? HATCHED : null;
  return pick(colors.ramp, classOf(limits, value), limits.length + 1);
}

/** Corners and colours of all cells that lie in the view, in pixels from its middle. */
function layOut() {
  const { layer } = shown, halfWidth = view.width / 2 + 60, halfHeight = view.height / 2 + 60;
  screen = { cells: [], size: 0 };
  for (let cell = 0; cell < layer.cells.length; cell += 1) {
    const color = cellColor(cell);
    if (color === null) continue;
    const center = project(...cellCenter(layer, cell));
    if (!center) continue;
    const outline = layer.outlines[cell], corners = [];
    let away = false, reach = 0;
    for (let corner = 0; corner < outline.length; corner += 2) {
      const point = project(outline[corner + 1] / 1e6, outline[corner] / 1e6);
      if (!point) { away = true; break; }
      corners.push(point);
      reach = Math.max(reach, Math.hypot(point[0] - center[0], point[1] - center[1]));
    }
    if (away || Math.abs(center[0]) - reach > halfWidth || Math.abs(center[1]) - reach > halfHeight) continue;
    screen.cells.push({ cell, center, corners, color, reach });
    screen.size = Math.max(screen.size, reach);
  }
}

function trace(corners) {
  corners.forEach(([x, y], index) => (index ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.closePath();
}

function draw() {
  if (!shown) return;
  const ratio = window.devicePixelRatio || 1;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, view.width, view.height);
  pen.translate(view.width / 2 + drag.x, view.height / 2 + drag.y);
  pen.scale(drag.zoom, drag.zoom);
  drawGraticule();
  if (screen.size < 2.5 && places.length > 1) drawPlaces();
  else {
    drawCells();
    if (state.reach) drawReach();
    if (state.gaps) drawGaps();
    if (state.stores) drawStores();
    drawChosen();
  }
  const bar = scaleBar(110);
  document.getElementById('scale-text').textContent = metres(bar.length);
  document.getElementById('scale-bar').style.width = `${bar.pixels}px`;
}

function drawGraticule() {
  pen.strokeStyle = colors.line;
  pen.fillStyle = colors.soft;
  pen.lineWidth = 1;
  pen.font = '10px system-ui, sans-serif';
  for (const { line, label, parallel } of graticule()) {
    pen.beginPath();
    let open = false, labelled = false;
    for (const point of line) {
      const at = project(point[0], point[1]);
      if (!at) { open = false; continue; }
      if (open) pen.lineTo(at[0], at[1]); else pen.moveTo(at[0], at[1]);
      open = true;
    }
    pen.stroke();
    // Labels stand where lines cross the upper and the left side of the view.
    for (let index = 1; index < line.length && !labelled; index += 1) {
      const a = project(...line[index - 1]), b = project(...line[index]);
      if (!a || !b) continue;
      const edge = parallel ? -view.width / 2 + 8 : -view.height / 2 + 16, axis = parallel ? 0 : 1;
      if ((a[axis] - edge) * (b[axis] - edge) > 0 || a[axis] === b[axis]) continue;
      const share = (edge - a[axis]) / (b[axis] - a[axis]), x = a[0] + share * (b[0] - a[0]), y = a[1] + share * (b[1] - a[1]);
      if (x < view.width / 2 - 40 && Math.abs(y) < view.height / 2 - 8 && !(parallel && y < -view.height / 2 + 30)) pen.fillText(label, x + 4, y - 4);
      labelled = true;
    }
  }
}

function drawCells() {
  const byColor = new Map();
  for (const found of screen.cells) {
    if (!byColor.has(found.color)) byColor.set(found.color, []);
    byColor.get(found.color).push(found);
  }
  for (const [color, cells] of byColor) {
    pen.beginPath();
    for (const found of cells) {
      // What is too small to see is drawn a little larger than it is.
      if (found.reach < 2) pen.rect(found.center[0] - 2, found.center[1] - 2, 4, 4); else trace(found.corners);
    }
    pen.fillStyle = color === HATCHED ? hatched() : color;
    pen.fill();
    if (screen.size > 5) {
      pen.strokeStyle = colors.paper;
      pen.lineWidth = Math.min(1.5, screen.size / 10);
      pen.stroke();
    }
  }
  if (shown.status) drawWonAndLost();
}

/** Won and lost cells differ by more than colour: a plus or a cross in them. */
function drawWonAndLost() {
  pen.lineWidth = 2;
  for (const found of screen.cells) {
    const status = shown.status[found.cell], arm = Math.min(7, found.reach * 0.35);
    if ((status !== 'won' && status !== 'lost') || found.reach < 5) continue;
    const [x, y] = found.center, slant = status === 'won' ? 0 : arm * 0.75;
    pen.strokeStyle = colors.paper;
    pen.beginPath();
    if (status === 'won') { pen.moveTo(x - arm, y); pen.lineTo(x + arm, y); pen.moveTo(x, y - arm); pen.lineTo(x, y + arm); }
    else { pen.moveTo(x - slant, y - slant); pen.lineTo(x + slant, y + slant); pen.moveTo(x - slant, y + slant); pen.lineTo(x + slant, y - slant); }
    pen.stroke();
  }
}

function drawReach() {
  for (const [index, store] of data.stores.entries()) {
    if (!store.radius || store.closed) continue;
    const corners = circle(store.lat, store.lng, store.radius).map(([lat, lng]) => project(lat, lng));
    if (corners.some((corner) => !corner)) continue;
    pen.beginPath();
    trace(corners);
    pen.setLineDash([5, 4]);
    pen.strokeStyle = colors.store;
    pen.globalAlpha = index === state.store ? 1 : 0.75;
    pen.lineWidth = index === state.store ? 2.5 : 1.5;
    pen.stroke();
    if (index === state.store) { pen.globalAlpha = 0.12; pen.fillStyle = colors.store; pen.fill(); }
  }
  pen.setLineDash([]);
  pen.globalAlpha = 1;
}

function drawStores() {
  const labelled = view.scale > 60000;
  pen.font = '600 11px system-ui, sans-serif';
  pen.textAlign = 'left';
  const taken = [];
  const order = data.stores.map((store, index) => ({ store, index })).sort((a, b) => (b.index === state.store) - (a.index === state.store));
  for (const { store, index } of order) {
    const at = project(store.lat, store.lng);
    if (!at) continue;
    pen.beginPath();
    pen.arc(at[0], at[1], index === state.store ? 7 : 5, 0, 2 * Math.PI);
    pen.fillStyle = store.closed ? colors.paper : colors.store;
    pen.strokeStyle = store.closed ? colors.store : colors.paper;
    pen.lineWidth = 2;
    pen.fill();
    pen.stroke();
    if (!labelled) continue;
    const width = pen.measureText(store.name).width, box = [at[0] + 8, at[1] - 9, at[0] + 12 + width, at[1] + 9];
    if (taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) continue;
    taken.push(box);
    pen.lineWidth = 3.5;
    pen.strokeStyle = colors.paper;
    pen.lineJoin = 'round';
    pen.strokeText(store.name, at[0] + 10, at[1] + 4);
    pen.fillStyle = colors.ink;
    pen.fillText(store.name, at[0] + 10, at[1] + 4);
  }
}

/** Gaps that have a badge with their rank; the others have only their outline. */
const BADGES_MAX = 12;

function drawGaps() {
  const gaps = data.gaps;
  pen.lineJoin = 'round';
  for (let gap = gaps.cell.length - 1; gap >= 0; gap -= 1) {
    const outline = gaps.outline[gap], corners = [];
    for (let corner = 0; corner < outline.length; corner += 2) corners.push(project(outline[corner + 1] / 1e6, outline[corner] / 1e6));
    if (corners.some((corner) => !corner)) continue;
    pen.beginPath();
    trace(corners);
    pen.strokeStyle = colors.gap;
    pen.lineWidth = gap === state.gap ? 4 : 1.75;
    pen.stroke();
    if (gaps.rank[gap] > BADGES_MAX && gap !== state.gap) continue;
    const [x, y] = project(gaps.lat[gap], gaps.lng[gap]), text = String(gaps.rank[gap]);
    pen.beginPath();
    pen.arc(x, y, text.length > 2 ? 12 : 10, 0, 2 * Math.PI);
    pen.fillStyle = colors.gap;
    pen.fill();
    pen.lineWidth = 1.5;
    pen.strokeStyle = colors.paper;
    pen.stroke();
    pen.fillStyle = colors.paper;
    pen.font = '700 11px system-ui, sans-serif';
    pen.textAlign = 'center';
    pen.fillText(text, x, y + 4);
    pen.textAlign = 'left';
  }
}

/** From far away, places are discs as large as what was ordered there. */
function drawPlaces() {
  const orders = ordersOfPlaces();
  const most = Math.max(...orders, 1), taken = [];
  places.map((place, index) => ({ place, index })).sort((a, b) => orders[b.index] - orders[a.index]).forEach(({ place, index }) => {
    const at = project(place.lat, place.lng);
    if (!at || !orders[index]) return;
    const radius = 5 + 22 * Math.sqrt(orders[index] / most);
    place.disc = { at, radius };
    pen.beginPath();
    pen.arc(at[0], at[1], radius, 0, 2 * Math.PI);
    pen.fillStyle = colors.ramp[3];
    pen.globalAlpha = 0.75;
    pen.fill();
    pen.globalAlpha = 1;
    pen.lineWidth = 1.5;
    pen.strokeStyle = colors.paper;
    pen.stroke();
    pen.font = '600 12px system-ui, sans-serif';
    const text = `${place.name} ${whole(orders[index])}`, width = pen.measureText(text).width;
    const box = [at[0] + radius, at[1] - 8, at[0] + radius + width + 8, at[1] + 8];
    if (taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) return;
    taken.push(box);
    pen.lineWidth = 3.5;
    pen.strokeText(text, at[0] + radius + 5, at[1] + 4);
    pen.fillStyle = colors.ink;
    pen.fillText(text, at[0] + radius + 5, at[1] + 4);
  });
}

function drawChosen() {
  for (const [cell, width] of [[hovered, 2], [state.cell, 3.5]]) {
    const found = cell >= 0 && screen.cells.find((candidate) => candidate.cell === cell);
    if (!found) continue;
    pen.beginPath();
    trace(found.corners);
    pen.strokeStyle = colors.paper;
    pen.lineWidth = width + 2.5;
    pen.stroke();
    pen.strokeStyle = colors.ink;
    pen.lineWidth = width;
    pen.stroke();
  }
}

// ---- Moving ---------------------------------------------------------------------------------------------------------------

const drag = { x: 0, y: 0, zoom: 1 };
const SCALE_MIN = 60, SCALE_MAX = 4e7;

/** Goes on from where fingers or mouse have moved the picture to: the projection's middle moves along. */
function settle() {
  [view.lat, view.lng] = unproject(-drag.x / drag.zoom, -drag.y / drag.zoom);
  view.scale = Math.max(SCALE_MIN, Math.min(SCALE_MAX, view.scale * drag.zoom));
  drag.x = 0; drag.y = 0; drag.zoom = 1;
  layOut();
  draw();
}

function goTo(target) {
  const from = { lat: view.lat, lng: view.lng, scale: view.scale };
  const turn = ((target.lng - from.lng + 540) % 360) - 180;
  const far = angleBetween(unit(from.lat, from.lng), unit(target.lat, target.lng)) * Math.max(from.scale, target.scale) > 20000;
  const steps = calm.matches || far || document.hidden ? 1 : 14;
  let step = 0;
  const move = () => {
    step += 1;
    const share = step / steps, eased = share * share * (3 - 2 * share);
    view.lat = from.lat + eased * (target.lat - from.lat);
    view.lng = from.lng + eased * turn;
    view.scale = from.scale * (target.scale / from.scale) ** eased;
    layOut();
    draw();
    if (step < steps) requestAnimationFrame(move);
  };
  move();
}

/** A view that holds the place; discs of places need more room at the sides than cells. */
function viewOfPlace() {
  const margin = state.place < 0 && places.length > 1 ? Math.min(110, view.width / 5, view.height / 5) : Math.min(40, view.width / 10);
  return fitted(pointsOf(state.place), view.width, view.height, margin);
}

function fitPlace() { goTo(viewOfPlace()); }

function zoomBy(factor, x = 0, y = 0) {
  drag.zoom = Math.max(SCALE_MIN / view.scale, Math.min(SCALE_MAX / view.scale, factor));
  drag.x = x * (1 - drag.zoom);
  drag.y = y * (1 - drag.zoom);
  settle();
}

function inside(corners, x, y) {
  let within = false;
  for (let a = 0, b = corners.length - 1; a < corners.length; b = a, a += 1) {
    const [ax, ay] = corners[a], [bx, by] = corners[b];
    if ((ay > y) !== (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax) within = !within;
  }
  return within;
}

function cellAt(x, y) {
  let best = -1, nearest = 6;
  for (const found of screen.cells) {
    const away = Math.hypot(found.center[0] - x, found.center[1] - y);
    if (away <= found.reach && inside(found.corners, x, y)) return found.cell;
    if (found.reach < 4 && away < nearest) { nearest = away; best = found.cell; }
  }
  return best;
}

/** The nearest cell in a direction. */
function neighbour(dx, dy) {
  const here = screen.cells.find((found) => found.cell === state.cell);
  const [x, y] = here ? here.center : [0, 0];
  let best = -1, least = Infinity;
  for (const found of screen.cells) {
    if (found.cell === state.cell) continue;
    const along = (found.center[0] - x) * dx + (found.center[1] - y) * dy, across = Math.abs((found.center[0] - x) * dy) + Math.abs((found.center[1] - y) * dx);
    if (here && (along <= 0 || across > along * 1.8)) continue;
    const cost = here ? along + 1.5 * across : Math.hypot(found.center[0], found.center[1]);
    if (cost < least) { least = cost; best = found.cell; }
  }
  return best;
}

function resize() {
  const box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
  view.width = Math.max(1, box.width);
  view.height = Math.max(1, box.height);
  canvas.width = Math.round(view.width * ratio);
  canvas.height = Math.round(view.height * ratio);
  if (shown) { layOut(); draw(); }
}
