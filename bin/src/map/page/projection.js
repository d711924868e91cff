// Lambert's azimuthal equal-area projection around the middle of the view (Snyder, "Map Projections: A Working Manual", 1987,
// chapter 24): hexagons of one resolution keep their size, and neither a pole nor the 180th meridian is a seam.

const EARTH_RADIUS_M = 6371008.8;
const RADIANS = Math.PI / 180;
/** Beyond this angle from the middle nothing is drawn: shapes would be stretched beyond recognition. */
const ANGLE_MAX = 2.2;

const view = { lat: 0, lng: 0, scale: 1000, width: 1, height: 1 };

/** Pixels from the middle of the view, or null where the earth turns away. */
function project(lat, lng, at = view) {
  const phi = lat * RADIANS, phi0 = at.lat * RADIANS, turn = (lng - at.lng) * RADIANS;
  const sin0 = Math.sin(phi0), cos0 = Math.cos(phi0), sin = Math.sin(phi), cos = Math.cos(phi), cosTurn = Math.cos(turn);
  const cosAngle = sin0 * sin + cos0 * cos * cosTurn;
  if (cosAngle < Math.cos(ANGLE_MAX)) return null;
  const k = Math.sqrt(2 / (1 + cosAngle)) * at.scale;
  return [k * cos * Math.sin(turn), -k * (cos0 * sin - sin0 * cos * cosTurn)];
}

/** The point of the earth at so many pixels from the middle. */
function unproject(x, y, at = view) {
  const rho = Math.hypot(x, y) / at.scale;
  if (rho < 1e-12) return [at.lat, at.lng];
  const angle = 2 * Math.asin(Math.min(1, rho / 2)), sin = Math.sin(angle), cos = Math.cos(angle);
  const phi0 = at.lat * RADIANS, up = -y / at.scale, right = x / at.scale;
  const lat = Math.asin(Math.max(-1, Math.min(1, cos * Math.sin(phi0) + up * sin * Math.cos(phi0) / rho)));
  const lng = at.lng * RADIANS + Math.atan2(right * sin, rho * Math.cos(phi0) * cos - up * Math.sin(phi0) * sin);
  return [lat / RADIANS, ((lng / RADIANS + 540) % 360) - 180];
}

const unit = (lat, lng) => [Math.cos(lat * RADIANS) * Math.cos(lng * RADIANS), Math.cos(lat * RADIANS) * Math.sin(lng * RADIANS), Math.sin(lat * RADIANS)];
const angleBetween = (a, b) => Math.acos(Math.max(-1, Math.min(1, a[0] * b[0] + a[1] * b[1] + a[2] * b[2])));

/** A circle on the earth as corners [lat, lng]. */
function circle(lat, lng, radius, corners = 72) {
  const angle = radius / EARTH_RADIUS_M, phi = lat * RADIANS, result = [];
  for (let corner = 0; corner < corners; corner += 1) {
    const bearing = corner * 2 * Math.PI / corners;
    const to = Math.asin(Math.sin(phi) * Math.cos(angle) + Math.cos(phi) * Math.sin(angle) * Math.cos(bearing));
    const turn = Math.atan2(Math.sin(bearing) * Math.sin(angle) * Math.cos(phi), Math.cos(angle) - Math.sin(phi) * Math.sin(to));
    result.push([to / RADIANS, lng + turn / RADIANS]);
  }
  return result;
}

/** The middle of points, and a scale at which all of them fit. */
function fitted(points, width, height, margin) {
  const middle = [0, 0, 0];
  for (const [lat, lng] of points) unit(lat, lng).forEach((part, axis) => { middle[axis] += part; });
  const length = Math.hypot(...middle) || 1;
  const at = { lat: Math.asin(Math.max(-1, Math.min(1, middle[2] / length))) / RADIANS, lng: Math.atan2(middle[1], middle[0]) / RADIANS, scale: 1 };
  // The mean of the points is not the middle of their box: once it is known, the view goes there.
  let box = null;
  for (let round = 0; round < 2; round += 1) {
    box = [Infinity, Infinity, -Infinity, -Infinity];
    for (const [lat, lng] of points) {
      const found = project(lat, lng, at);
      if (found) box = [Math.min(box[0], found[0]), Math.min(box[1], found[1]), Math.max(box[2], found[0]), Math.max(box[3], found[1])];
    }
    if (round === 0 && box[0] <= box[2]) [at.lat, at.lng] = unproject((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, at);
  }
  const wide = Math.max(box[2] - box[0], 1e-5), high = Math.max(box[3] - box[1], 1e-5);
  at.scale = Math.min((width - 2 * margin) / wide, (height - 2 * margin) / high);
  return at;
}

/** Meridians and parallels at round steps that suit the scale, each as a line of [lat, lng]. */
function graticule() {
  const reach = Math.min(ANGLE_MAX, Math.hypot(view.width, view.height) / 2 / view.scale) / RADIANS;
  const steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30];
  const step = steps.find((value) => reach / value <= 5) || 30;
  const lines = [];
  const low = Math.max(-90, view.lat - reach), high = Math.min(90, view.lat + reach);
  const polar = low <= -89 || high >= 89;
  const side = polar ? 180 : Math.min(180, reach / Math.max(0.02, Math.cos(Math.max(Math.abs(low), Math.abs(high)) * RADIANS)));
  // Labels of meridians need room beside each other.
  const meridianPixels = RADIANS * Math.cos(view.lat * RADIANS) * view.scale;
  const acrossStep = steps.find((value) => value >= step && side / value <= 9 && value * meridianPixels >= 64) || 30;
  for (let lat = Math.ceil(low / step) * step; lat <= high; lat += step) {
    const line = [];
    for (let part = 0; part <= 64; part += 1) line.push([lat, view.lng - side + part * side / 32]);
    lines.push({ line, label: degrees(lat, 'N', 'S', step), parallel: true });
  }
  for (let lng = Math.ceil((view.lng - side) / acrossStep) * acrossStep; lng <= view.lng + side; lng += acrossStep) {
    const line = [];
    for (let part = 0; part <= 64; part += 1) line.push([low + part * (high - low) / 64, lng]);
    lines.push({ line, label: degrees(((lng + 540) % 360) - 180, 'E', 'W', acrossStep), parallel: false });
  }
  return lines;
}

function degrees(value, positive, negative, step) {
  const digits = step >= 1 ? 0 : step >= 0.1 ? 1 : 2;
  const text = formatter({ minimumFractionDigits: digits, maximumFractionDigits: digits }).format(Math.abs(value)) + '°';
  return Math.abs(value) < step / 1000 ? text : text + (value > 0 ? positive : negative);
}

/** A round length that is about so many pixels long in the middle of the view. */
function scaleBar(pixels) {
  const most = pixels / view.scale * EARTH_RADIUS_M, power = 10 ** Math.floor(Math.log10(most));
  const length = [5, 2, 1].map((head) => head * power).find((value) => value <= most) || power;
  return { length, pixels: length / EARTH_RADIUS_M * view.scale };
}
