// The moving average of a curve.
import { choices } from "./theme.js";

const SHARE = 0.01; // of the longest run, for the automatic choice

let longest = 0; // steps

export function setLongest(steps) {
  longest = steps;
}

// The time constant of the average in optimizer steps; 0 for none.
export function smoothingSteps() {
  if (choices.smoothing === "off") return 0;
  return choices.smoothing === "auto" ? Math.max(1, SHARE * longest) : Number(choices.smoothing);
}

// Exponential moving average over steps, with bias correction. A value counts for the steps since the one before it, so
// curves are smoothed alike whatever the resolution they have come down to.
export function smooth(steps, values, constant) {
  let [sum, weight] = [0, 0];
  return values.map((value, index) => {
    const passed = index ? steps[index] - steps[index - 1] : (steps[1] ?? steps[0] + 1) - steps[0];
    const kept = Math.exp(-Math.max(passed, 0) / constant);
    sum = kept * sum + (1 - kept) * value;
    weight = kept * weight + (1 - kept);
    // Rounded, or the axis would magnify the rounding errors of a constant.
    return weight > 0 ? Number((sum / weight).toPrecision(7)) : value;
  });
}
