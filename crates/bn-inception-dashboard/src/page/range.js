// The range of an axis that single outliers do not stretch.

const FEWEST = 10; // values
const TAIL = 0.02; // share of the values at either end that may be outliers
const FAR = 2; // in widths of the rest, beyond which they are
const MARGIN = 0.06;

// `{ range, above, below }` for values with outliers, in the units of the axis (decades if it is logarithmic), and the
// extreme values left out. `null` without outliers.
export function robustRange(values, { log = false, zero = false } = {}) {
  const usable = values.filter((value) => Number.isFinite(value) && (!log || value > 0)).map((value) => (log ? Math.log10(value) : value));
  if (usable.length < FEWEST) return null;
  const sorted = Float64Array.from(usable).sort();
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  // Of few values, at least one may be an outlier.
  const tail = Math.max(TAIL, 1 / (sorted.length - 1));
  let [low, high] = [at(tail), at(1 - tail)];
  if (zero) low = Math.min(low, 0);
  const width = high - low || Math.abs(high) || 1;
  const [least, most] = [sorted[0], sorted.at(-1)];
  const [below, above] = [least < low - FAR * width, most > high + FAR * width];
  if (!below && !above) return null;
  if (!below) low = zero ? Math.min(least, 0) : least;
  if (!above) high = most;
  const margin = MARGIN * (high - low);
  const value = (position) => (log ? 10 ** position : position);
  return {
    range: [zero && low === 0 ? 0 : low - margin, high + margin],
    above: above ? value(most) : null,
    below: below ? value(least) : null,
  };
}
