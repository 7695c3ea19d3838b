// Scales, and the ticks on them.

// A scale from the values `low` to `high` to the pixels `from` to `to`; logarithmic if `log`.
export function scale(low, high, from, to, log = false) {
  const inner = log ? Math.log10 : (value) => value;
  const [a, b] = [inner(low), inner(high)];
  const factor = (to - from) / (b - a || 1);
  return {
    low,
    high,
    from,
    to,
    log,
    place: (value) => from + (inner(value) - a) * factor,
    value: (pixel) => (log ? 10 ** (a + (pixel - from) / factor) : a + (pixel - from) / factor),
  };
}

const NICE = [1, 2, 5, 10];

// At most `most` ticks, about, at round values: `[{ value, text }]`.
export function ticks({ low, high, log }, most) {
  return log && high / low > 8 ? logarithmic(low, high, most) : linear(low, high, most);
}

function linear(low, high, most) {
  const rough = (high - low) / Math.max(1, most);
  if (!(rough > 0) || !Number.isFinite(rough)) return [{ value: low, text: tickText(low, 1) }];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * NICE.find((nice) => nice * power >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i += 1) found.push({ value: i * step, text: tickText(i * step, step) });
  return found;
}

function logarithmic(low, high, most) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const every = Math.max(1, Math.ceil((last - first) / most));
  const within = last - first <= most / 3 ? [1, 2, 5] : [1];
  const found = [];
  for (let exponent = first; exponent <= last; exponent += every) {
    for (const factor of within) {
      const value = factor * 10 ** exponent;
      if (value >= low * 0.999 && value <= high * 1.001) found.push({ value, text: tickText(value, value) });
    }
  }
  return found;
}

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

// The text of a tick whose neighbours are `step` away.
function tickText(value, step) {
  const size = Math.abs(value);
  if (size < step * 1e-6) return "0";
  if (size >= 1e9 || size < 9e-4) {
    const [digits, exponent] = value.toExponential(Math.max(0, Math.min(3, Math.round(Math.log10(size / step))))).split("e");
    const power = exponent.replace("+", "").replace("-", "⁻").replace(/\d/g, (digit) => SUPERSCRIPTS[digit]);
    return Number(digits) === 1 ? `10${power}` : `${Number(digits)}·10${power}`;
  }
  if (size >= 1e6) return `${shortest(value / 1e6, step / 1e6)}M`;
  if (size >= 1e4) return `${shortest(value / 1e3, step / 1e3)}k`;
  return shortest(value, step);
}

function shortest(value, step) {
  return String(Number(value.toFixed(Math.max(0, Math.min(8, 1 - Math.floor(Math.log10(step)))))));
}

// Index of the first of the ascending `values` that is at least `value`.
export function firstFrom(values, value) {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
