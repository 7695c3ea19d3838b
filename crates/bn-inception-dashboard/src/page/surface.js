// What charts are drawn on: a canvas, or the text of an SVG file. Both have the same functions. Points are flat lists:
// x, y, x, y …

const FONT = "system-ui, sans-serif";
const DASH_LENGTHS = { solid: [], dash: [7, 4], dot: [2, 3], dashdot: [7, 3, 2, 3] };

export function canvasSurface(context) {
  const trace = (points) => {
    context.beginPath();
    context.moveTo(points[0], points[1]);
    for (let i = 2; i < points.length; i += 2) context.lineTo(points[i], points[i + 1]);
  };
  return {
    line(points, { colour, width = 1, dash = "solid", opacity = 1 }) {
      if (points.length < 4) return;
      Object.assign(context, { globalAlpha: opacity, strokeStyle: colour, lineWidth: width, lineJoin: "bevel" });
      context.setLineDash(DASH_LENGTHS[dash]);
      trace(points);
      context.stroke();
      context.globalAlpha = 1;
    },
    polygon(points, { colour, opacity = 1 }) {
      if (points.length < 6) return;
      Object.assign(context, { globalAlpha: opacity, fillStyle: colour });
      trace(points);
      context.fill();
      context.globalAlpha = 1;
    },
    rect(x, y, width, height, { colour, opacity = 1 }) {
      Object.assign(context, { globalAlpha: opacity, fillStyle: colour });
      context.fillRect(x, y, width, height);
      context.globalAlpha = 1;
    },
    text(x, y, text, { colour, size = 11, align = "left", baseline = "middle", angle = 0, weight = 400 }) {
      context.save();
      context.translate(x, y);
      context.rotate((angle * Math.PI) / 180);
      Object.assign(context, { font: `${weight} ${size}px ${FONT}`, fillStyle: colour, textAlign: align, textBaseline: baseline });
      context.fillText(text, 0, 0);
      context.restore();
    },
    clipped(x, y, width, height, draw) {
      context.save();
      context.beginPath();
      context.rect(x, y, width, height);
      context.clip();
      draw();
      context.restore();
    },
  };
}

function escaped(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

let clips = 0; // of all pictures: on paper several are in one document

// A surface whose `document()` is an SVG file of `width` by `height` pixels.
export function svgSurface(width, height, background) {
  const parts = [];
  const round = (value) => Math.round(100 * value) / 100;
  const path = (points) => Array.from({ length: points.length / 2 }, (_, i) => `${i ? "L" : "M"}${round(points[2 * i])} ${round(points[2 * i + 1])}`).join("");
  const ANCHORS = { left: "start", center: "middle", right: "end" };
  const SHIFTS = { middle: 0.35, top: 0.8, bottom: -0.2 };
  return {
    line(points, { colour, width: thick = 1, dash = "solid", opacity = 1 }) {
      if (points.length < 4) return;
      parts.push(`<path d="${path(points)}" fill="none" stroke="${colour}" stroke-width="${thick}" stroke-dasharray="${DASH_LENGTHS[dash].join(" ") || "none"}" stroke-linejoin="round" opacity="${opacity}"/>`);
    },
    polygon(points, { colour, opacity = 1 }) {
      if (points.length >= 6) parts.push(`<path d="${path(points)}Z" fill="${colour}" opacity="${opacity}"/>`);
    },
    rect(x, y, wide, high, { colour, opacity = 1 }) {
      parts.push(`<rect x="${round(x)}" y="${round(y)}" width="${round(wide)}" height="${round(high)}" fill="${colour}" opacity="${opacity}"/>`);
    },
    text(x, y, text, { colour, size = 11, align = "left", baseline = "middle", angle = 0, weight = 400 }) {
      const place = `translate(${round(x)} ${round(y)}) rotate(${angle})`;
      parts.push(`<text transform="${place}" dy="${round(SHIFTS[baseline] * size)}" font-family="${FONT}" font-size="${size}" font-weight="${weight}" text-anchor="${ANCHORS[align]}" fill="${colour}">${escaped(text)}</text>`);
    },
    clipped(x, y, wide, high, draw) {
      clips += 1;
      parts.push(`<clipPath id="c${clips}"><rect x="${round(x)}" y="${round(y)}" width="${round(wide)}" height="${round(high)}"/></clipPath><g clip-path="url(#c${clips})">`);
      draw();
      parts.push("</g>");
    },
    document() {
      const back = `<rect width="${width}" height="${height}" fill="${background}"/>`;
      return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">${back}${parts.join("")}</svg>\n`;
    },
  };
}
