// Places: the cities of the stores. A chain that is in Warsaw and New York has two maps, and a way from one to the other.

/** Beyond this distance from every store, a cell belongs to no city. */
const PLACE_REACH_M = 60000;

const places = [];
for (const [index, store] of data.stores.entries()) {
  const name = store.city || 'Elsewhere';
  let place = places.find((candidate) => candidate.name === name && candidate.country === store.country
    && angleBetween(unit(store.lat, store.lng), unit(candidate.lat, candidate.lng)) * EARTH_RADIUS_M < 3 * PLACE_REACH_M);
  if (!place) places.push(place = { name, country: store.country, lat: store.lat, lng: store.lng, stores: [] });
  place.stores.push(index);
  store.place = places.indexOf(place);
}

/** The place of each cell of a layer: that of the nearest store, or the last place, which is none. */
function placesOf(layer) {
  if (layer.places) return layer.places;
  const stores = data.stores.map((store) => unit(store.lat, store.lng));
  layer.places = layer.cells.map((_, cell) => {
    const at = unit(layer.centers[2 * cell] / 1e6, layer.centers[2 * cell + 1] / 1e6);
    let best = -1, nearest = Math.cos(PLACE_REACH_M / EARTH_RADIUS_M);
    stores.forEach((store, index) => {
      const near = at[0] * store[0] + at[1] * store[1] + at[2] * store[2];
      if (near > nearest) { nearest = near; best = index; }
    });
    return best < 0 ? -1 : data.stores[best].place;
  });
  return layer.places;
}

/** Which cells of the layer belong to the chosen place; null for all of them. */
function cellsHere(layer) {
  return state.place < 0 ? null : Uint8Array.from(placesOf(layer), (place) => place === state.place);
}

/** Orders of every place over the chosen days. */
function ordersOfPlaces() {
  const layer = data.layers[state.layer], { rows } = layer, of = placesOf(layer), orders = new Float64Array(places.length);
  for (let row = layer.begins[state.from]; row < layer.begins[state.to + 1]; row += 1) {
    const place = of[rows.cell[row]];
    if (place >= 0 && (state.currency < 0 || rows.currency[row] === state.currency)) orders[place] += rows.orders[row] || 0;
  }
  return orders;
}

const cellCenter = (layer, cell) => [layer.centers[2 * cell] / 1e6, layer.centers[2 * cell + 1] / 1e6];

/** What a view of the place has to hold. */
function pointsOf(place) {
  const layer = data.layers[state.layer], of = placesOf(layer), points = [];
  layer.outlines.forEach((outline, cell) => {
    if (place >= 0 && of[cell] !== place) return;
    for (let corner = 0; corner < outline.length; corner += 2) points.push([outline[corner + 1] / 1e6, outline[corner] / 1e6]);
  });
  for (const store of data.stores) if (place < 0 || store.place === place) points.push([store.lat, store.lng]);
  return points.length ? points : [[0, 0]];
}

/** The place with most orders, where the map begins. */
function busiestPlace() {
  const layer = data.layers[0], of = placesOf(layer), orders = new Float64Array(places.length);
  layer.rows.cell.forEach((cell, row) => { if (of[cell] >= 0) orders[of[cell]] += layer.rows.orders[row] || 0; });
  return places.length > 1 ? orders.indexOf(Math.max(...orders)) : -1;
}
