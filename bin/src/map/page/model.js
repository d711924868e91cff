// What the page knows: columns of numbers, and what they come to over days, currencies and cells.

const data = JSON.parse(document.getElementById('data').textContent);
/** The wished locale if the browser knows what it means, else the browser's own. */
const locale = (() => {
  try { return data.locale ? Intl.getCanonicalLocales(data.locale)[0] : undefined; } catch { return undefined; }
})();
const NO_CURRENCY = 'XXX';

/** The measures. `sum` adds up over days; `share` and `mean` come from sums; `day` holds for one day alone. */
const MEASURES = [
  { id: 'orders', label: 'Orders', kind: 'sum', column: 'orders' },
  { id: 'revenue', label: 'Revenue', kind: 'sum', column: 'revenue', money: true },
  { id: 'new_customers', label: 'New customers', kind: 'sum', column: 'new_customers' },
  { id: 'completed', label: 'Completed orders', kind: 'sum', column: 'completed' },
  { id: 'cancelled', label: 'Cancelled orders', kind: 'sum', column: 'cancelled' },
  { id: 'late', label: 'Late orders', kind: 'sum', column: 'late' },
  { id: 'cancelled_share', label: 'Share cancelled', kind: 'share', part: 'cancelled', whole: 'orders' },
  { id: 'late_share', label: 'Share late', kind: 'share', part: 'late', whole: 'completed' },
  { id: 'minutes', label: 'Delivery time, mean', kind: 'mean', column: 'minutes', weight: 'completed', unit: 'minute', scale: 10 },
  { id: 'distance', label: 'Distance from store, mean', kind: 'mean', column: 'distance', weight: 'orders', unit: 'metre', scale: 1 },
  { id: 'minutes_p50', label: 'Delivery time, median', kind: 'day', column: 'minutes_p50', unit: 'minute', scale: 10 },
  { id: 'minutes_p90', label: 'Delivery time, 90th percentile', kind: 'day', column: 'minutes_p90', unit: 'minute', scale: 10 },
  { id: 'customers', label: 'Different customers', kind: 'day', column: 'customers', scale: 1 },
  { id: 'stores', label: 'Serving stores', kind: 'day', column: 'stores', scale: 1 },
];
const SUMS = ['orders', 'completed', 'cancelled', 'late', 'new_customers', 'revenue'];

const state = {
  layer: 0, measure: MEASURES[0], currency: -1, from: 0, to: 0, compare: false, place: -1,
  cell: -1, gap: -1, store: -1, tab: 'gaps', stores: true, reach: true, gaps: true,
};

// ---- Words and numbers ----------------------------------------------------------------------------------------------------

const numbers = new Map();
function formatter(options) {
  const key = JSON.stringify(options);
  let found = numbers.get(key);
  if (!found) numbers.set(key, found = new Intl.NumberFormat(locale, options));
  return found;
}
const whole = (value) => formatter({ maximumFractionDigits: 0 }).format(value);
const percent = (value, digits = 1) => formatter({ style: 'percent', minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
function money(cents, currency, short = false) {
  if (currency === NO_CURRENCY || !/^[A-Z]{3}$/.test(currency)) return formatter({ minimumFractionDigits: 2, maximumFractionDigits: 2 }).format(cents / 100) + ' (no currency)';
  const options = { style: 'currency', currency, currencyDisplay: 'code' };
  if (short && Math.abs(cents) >= 1e6) Object.assign(options, { notation: 'compact', maximumFractionDigits: 1 });
  return formatter(options).format(cents / 100);
}
function metres(value) {
  return value >= 1000 ? formatter({ style: 'unit', unit: 'kilometer', maximumFractionDigits: value >= 1e5 ? 0 : 1 }).format(value / 1000)
    : formatter({ style: 'unit', unit: 'meter', maximumFractionDigits: 0 }).format(value);
}
const minutes = (value) => formatter({ style: 'unit', unit: 'minute', unitDisplay: 'short', minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(value);

/** A measure's value in words. */
function show(measure, value, short = false) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  if (measure.money) return money(value, data.currencies[moneyCurrency()], short);
  if (measure.kind === 'share') return percent(value);
  if (measure.unit === 'minute') return minutes(value);
  if (measure.unit === 'metre') return metres(value);
  return short && Math.abs(value) >= 1e5 ? formatter({ notation: 'compact', maximumFractionDigits: 1 }).format(value) : whole(value);
}

const DAY = 86400000;
const instant = (date) => Date.parse(date + 'T00:00:00Z');
const isoOf = (time) => new Date(time).toISOString().slice(0, 10);
const dayFormat = new Intl.DateTimeFormat(locale, { timeZone: 'UTC', day: 'numeric', month: 'short', year: 'numeric' });
const weekdayFormat = new Intl.DateTimeFormat(locale, { timeZone: 'UTC', weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' });
/** The last day of a bucket. */
const endOf = (bucket) => Math.min(instant(data.dates[bucket]) + (data.bucket_days - 1) * DAY, instant(data.to));
function spanText(begin, end) {
  if (begin === end) return weekdayFormat.format(begin);
  return dayFormat.formatRange ? dayFormat.formatRange(begin, end) : dayFormat.format(begin) + ' – ' + dayFormat.format(end);
}

// ---- Columns --------------------------------------------------------------------------------------------------------------

/** Where each bucket's rows begin: rows are in order of their buckets. */
function begins(rows, buckets) {
  const result = new Uint32Array(buckets + 1);
  for (const bucket of rows.bucket) result[bucket + 1] += 1;
  for (let index = 0; index < buckets; index += 1) result[index + 1] += result[index];
  return result;
}
for (const layer of data.layers) {
  layer.begins = begins(layer.rows, data.dates.length);
  layer.hiddenBegins = begins(layer.hidden, data.dates.length);
  if (layer.baseline) {
    layer.baselineBegins = begins(layer.baseline, data.baseline.dates.length);
    layer.baselineHiddenBegins = begins(layer.baseline_hidden, data.baseline.dates.length);
  }
}
if (data.store_rows) data.store_rows.begins = begins(data.store_rows, data.dates.length);

/** Amounts are never added across currencies: money is that of the chosen one, or of the only one of the place; else -1. */
function moneyCurrency() {
  if (state.currency >= 0) return state.currency;
  if (!onlyCurrencies.has(state.place)) {
    const layer = data.layers[0], here = cellsHere(layer), found = new Set();
    for (const rows of [layer.rows, layer.baseline]) if (rows) rows.currency.forEach((currency, row) => { if (!here || here[rows.cell[row]]) found.add(currency); });
    onlyCurrencies.set(state.place, found.size === 1 ? [...found][0] : -1);
  }
  return onlyCurrencies.get(state.place);
}
const onlyCurrencies = new Map();

/** Sums of rows by a key column, for one currency or all, and only of keys that `counts` lets in. */
function sums(rows, first, last, keys, count, columns, counts = null) {
  const result = { rows: new Uint32Array(count) };
  for (const column of columns) result[column] = new Float64Array(count);
  const only = state.currency, paid = moneyCurrency();
  for (let row = first; row < last; row += 1) {
    if (only >= 0 && rows.currency[row] !== only) continue;
    const key = keys[row];
    if (counts && !counts[key]) continue;
    result.rows[key] += 1;
    for (const column of columns) {
      if (column === 'revenue' && rows.currency[row] !== paid) continue;
      result[column][key] += rows[column][row] || 0;
    }
  }
  return result;
}

/** In how many steps and currencies a cell's numbers are not shown. */
function hiddenIn(rows, first, last, count, counts) {
  const result = new Uint32Array(count);
  for (let row = first; row < last; row += 1) {
    if ((state.currency < 0 || rows.currency[row] === state.currency) && (!counts || counts[rows.cell[row]])) result[rows.cell[row]] += 1;
  }
  return result;
}

function measureValues(measure, rows, first, last, total) {
  const count = total.rows.length, values = new Float64Array(count).fill(NaN);
  if (measure.kind === 'sum') {
    for (let cell = 0; cell < count; cell += 1) if (total.rows[cell]) values[cell] = total[measure.column][cell];
  } else if (measure.kind === 'share') {
    for (let cell = 0; cell < count; cell += 1) if (total[measure.whole][cell]) values[cell] = total[measure.part][cell] / total[measure.whole][cell];
  } else if (measure.kind === 'mean') {
    const weights = new Float64Array(count), weighted = new Float64Array(count);
    for (let row = first; row < last; row += 1) {
      const value = rows[measure.column][row], weight = rows[measure.weight][row];
      if (value === null || !weight || !total.rows[rows.cell[row]] || (state.currency >= 0 && rows.currency[row] !== state.currency)) continue;
      weights[rows.cell[row]] += weight;
      weighted[rows.cell[row]] += weight * value;
    }
    for (let cell = 0; cell < count; cell += 1) if (weights[cell]) values[cell] = weighted[cell] / weights[cell] / measure.scale;
  } else {
    for (let row = first; row < last; row += 1) {
      const value = rows[measure.column][row];
      // Two currencies in one cell are two groups of customers: their numbers do not add up.
      if (value === null || total.rows[rows.cell[row]] !== 1 || (state.currency >= 0 && rows.currency[row] !== state.currency)) continue;
      values[rows.cell[row]] = value / measure.scale;
    }
  }
  return values;
}

/** The days of the baseline that the chosen ones are compared with: both end as far before their last day. */
function baselineSpan() {
  const shift = instant(data.to) - instant(data.baseline.to);
  const begin = instant(data.dates[state.from]) - shift, end = endOf(state.to) - shift;
  let first = data.baseline.dates.length, last = -1;
  data.baseline.dates.forEach((date, index) => {
    const at = instant(date);
    if (at >= begin && at <= end) { first = Math.min(first, index); last = Math.max(last, index); }
  });
  return { begin, end, first, last };
}

/** Why the measure cannot be shown for the chosen days, or null. */
function whyNot() {
  const measure = state.measure;
  if (measure.money && moneyCurrency() < 0) return { text: 'Amounts of different currencies are not added. Choose a currency.', act: 'Show ' + data.currencies[busiestCurrency()], change: { currency: busiestCurrency() } };
  if (measure.kind === 'day' && state.compare) return { text: measure.label + ' holds for one day and is not compared.', act: 'Show orders', change: { measure: MEASURES[0] } };
  if (measure.kind === 'day' && data.bucket_days > 1) return { text: measure.label + ' cannot be combined over days, and this file holds sums of ' + data.bucket_days + ' days.', act: 'Show orders', change: { measure: MEASURES[0] } };
  if (measure.kind === 'day' && state.from !== state.to) return { text: measure.label + ' cannot be combined over days. Choose a single day.', act: 'Show ' + dayFormat.format(instant(data.dates[state.to])), change: { from: state.to } };
  return null;
}

function busiestCurrency() {
  const orders = new Float64Array(data.currencies.length), { rows } = data.layers[0], here = cellsHere(data.layers[0]);
  rows.currency.forEach((currency, row) => { if (data.currencies[currency] !== NO_CURRENCY && (!here || here[rows.cell[row]])) orders[currency] += rows.orders[row] || 0; });
  return orders.indexOf(Math.max(...orders));
}

/** Everything that is drawn for the present state. */
function compute() {
  const layer = data.layers[state.layer], count = layer.cells.length, rows = layer.rows;
  const first = layer.begins[state.from], last = layer.begins[state.to + 1];
  const here = cellsHere(layer);
  const total = sums(rows, first, last, rows.cell, count, SUMS, here);
  const hidden = hiddenIn(layer.hidden, layer.hiddenBegins[state.from], layer.hiddenBegins[state.to + 1], count, here);
  const why = whyNot();
  const result = { layer, here, total, hidden, why, values: why ? new Float64Array(count).fill(NaN) : measureValues(state.measure, rows, first, last, total), before: null, baseline: null, status: null };
  if (state.compare) {
    const span = baselineSpan(), old = layer.baseline, some = span.last >= span.first;
    const begin = some ? layer.baselineBegins[span.first] : 0, end = some ? layer.baselineBegins[span.last + 1] : 0;
    result.span = span;
    const hiddenThen = some ? hiddenIn(layer.baseline_hidden, layer.baselineHiddenBegins[span.first], layer.baselineHiddenBegins[span.last + 1], count, here) : null;
    // What is not shown on one side has no change.
    if (hiddenThen) hiddenThen.forEach((times, cell) => { hidden[cell] += times; });
    result.baseline = sums(old, begin, end, old.cell, count, SUMS, here);
    result.before = why ? new Float64Array(count).fill(NaN) : measureValues(state.measure, old, begin, end, result.baseline);
    result.change = new Float64Array(count).fill(NaN);
    result.status = new Array(count).fill('');
    for (let cell = 0; cell < count; cell += 1) {
      const now = total.orders[cell] > 0, then = result.baseline.orders[cell] > 0;
      if ((!now && !then) || hidden[cell]) continue;
      const zero = state.measure.kind === 'sum' ? 0 : NaN;
      const change = (now ? result.values[cell] : zero) - (then ? result.before[cell] : zero);
      result.change[cell] = change;
      result.status[cell] = now && !then ? 'won' : !now ? 'lost' : change > 0 ? 'grown' : change < 0 ? 'shrunk' : 'same';
    }
  }
  result.classes = state.compare ? changeClasses(result.change) : classes(result.values);
  return result;
}

// ---- Classes --------------------------------------------------------------------------------------------------------------

const CLASSES_MAX = 7;

function quantiles(sorted, count) {
  const limits = [];
  for (let index = 1; index < count; index += 1) limits.push(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * index / count))]);
  return [...new Set(limits)].filter((limit) => limit > sorted[0]);
}

/** Classes with about as many cells each: `limits[i]` is the least value of class i + 1. */
function classes(values) {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort();
  if (!sorted.length) return { limits: [], least: NaN, most: NaN };
  return { limits: quantiles(sorted, CLASSES_MAX), least: sorted[0], most: sorted[sorted.length - 1] };
}

/** Small and large changes: the larger third, or whatever is more than the least. */
function changeClasses(change) {
  const sizes = change.filter((value) => !Number.isNaN(value) && value !== 0).map(Math.abs).sort();
  if (!sizes.length) return { limits: [], least: 0, most: 0 };
  const third = sizes[Math.floor(sizes.length * 2 / 3)], limit = third > sizes[0] ? third : sizes.find((size) => size > sizes[0]);
  return { limits: limit === undefined ? [] : [limit], least: sizes[0], most: sizes[sizes.length - 1] };
}

function classOf(limits, value) {
  let index = 0;
  while (index < limits.length && value >= limits[index]) index += 1;
  return index;
}

/** Evenly spaced colours of a ramp. */
function pick(ramp, index, count) {
  return count <= 1 ? ramp[Math.floor(ramp.length / 2)] : ramp[Math.round(index * (ramp.length - 1) / (count - 1))];
}
