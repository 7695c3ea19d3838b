// The panel of the processes that train one network: the work and the waiting of each in a step.
import { element, number, percent } from "./format.js";
import { addPanel, ofCell } from "./panels.js";

// Heading, value in a report of ranks, and its text.
const COLUMNS = [
  ["images/s", (rank, seconds) => rank.images / seconds, number],
  ["computing", (rank, seconds) => (rank.seconds - rank.wait_seconds) / seconds, percent],
  ["data", (rank, seconds) => rank.wait_seconds / seconds, percent],
  ["others", (rank, seconds) => (seconds - rank.seconds) / seconds, percent],
];

export function addRanks(section) {
  addPanel(section, {
    title: "Ranks",
    of: ofCell("ranks"),
    note: "Of a step, up to the sum of all gradients: computing, waiting for data, waiting for the other ranks. The slowest rank waits least.",
    has: (view) => Boolean(view.focus?.details.cells.ranks),
    draw: drawRanks,
  });
}

function drawRanks(body, view) {
  const { seconds, ranks } = view.focus.details.cells.ranks;
  const heads = ["rank", ...COLUMNS.map(([name]) => name)].map((name) => element("th", { scope: "col", className: "number", textContent: name }));
  const rows = ranks.map((rank, index) => element("tr", {}, [
    element("th", { scope: "row", className: "number", textContent: String(index) }),
    ...COLUMNS.map(([, value, text]) => {
      const cell = element("td", { className: "number", textContent: text(value(rank, seconds)) });
      cell.dataset.text = String(value(rank, seconds));
      return cell;
    }),
  ]));
  const table = element("table", {}, [element("thead", {}, [element("tr", {}, heads)]), element("tbody", {}, rows)]);
  body.replaceChildren(element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Table of ranks" }, [table]));
}
