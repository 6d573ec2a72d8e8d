// Where members are and where they go: circles for stages, streams for moves, points for members.

import { byId, calm, h, setText, svg } from "./dom.js";
import { figure, named, number, percent, t } from "./words.js";

// Columns and rows of the picture, in shares of its width and height. Those who come and buy are on
// one bank, those who fall silent on the other.
const WIDE = {
  height: () => 510,
  most: 72,
  at: {
    lead: [0.08, 0.28], new: [0.36, 0.28], active: [0.64, 0.28], loyal: [0.92, 0.28],
    silent: [0.36, 0.68], dormant: [0.64, 0.68], lost: [0.92, 0.68],
  },
  around: (from, to, height) => [[from[0], height * 1.16], [to[0] * 0.72, height * 1.13]],
};
const TALL = {
  height: () => 640,
  most: 46,
  at: {
    lead: [0.25, 0.12], new: [0.25, 0.37], active: [0.25, 0.62], loyal: [0.25, 0.87],
    silent: [0.75, 0.37], dormant: [0.75, 0.62], lost: [0.75, 0.87],
  },
  around: (from, to) => [[to[0] * 1.5, from[1] * 0.8], [to[0] * 1.4, to[1] * 0.6]],
};
const BREAKPOINT = 720;
const POINTS_AT_MOST = 48;
const POINTS_PER_MOVE = 6;
const JOURNEY_MS = 2200;

export const STAGES = Object.keys(WIDE.at);

const box = byId("river");
const state = { stages: new Map(), flows: new Map(), width: 0 };
let layout = WIDE;
let picture = null;
let points = [];
let frame = 0;

const key = (flow) => `${flow.from}>${flow.to}`;

function place(stage) {
  const [x, y] = layout.at[stage];
  return [x * state.width, y * layout.height()];
}

function curve(from, to) {
  const [a, b] = [place(from), place(to)];
  if (from === "lead" && to === "lost") {
    const [c, d] = layout.around(a, b, layout.height());
    return `M${a} C${c} ${d} ${b}`;
  }
  // Bent to the left of the way, so that there and back are two streams.
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const bend = 0.13;
  const middle = [(a[0] + b[0]) / 2 + dy * bend, (a[1] + b[1]) / 2 - dx * bend];
  return `M${a} Q${middle} ${b}`;
}

function radius(count, most) {
  return Math.max(7, layout.most * Math.sqrt(count / most));
}

function build() {
  layout = state.width < BREAKPOINT ? TALL : WIDE;
  const height = layout.height();
  picture = {
    links: svg("g", { class: "streams" }),
    points: svg("g", { class: "points" }),
    nodes: svg("g"),
    paths: new Map(),
    stages: new Map(),
  };
  for (const stage of STAGES) {
    const [x, y] = place(stage);
    const above = layout === WIDE && y < height / 2;
    const circle = svg("circle", { cx: x, cy: y, class: `lake ${stage}` });
    const count = svg("text", { x, class: "lake-count", "text-anchor": "middle" });
    const name = svg("text", { x, class: "lake-name", "text-anchor": "middle" });
    picture.stages.set(stage, { circle, count, name, y, above });
    picture.nodes.append(svg("g", null, circle, count, name));
  }
  const title = svg("title", { id: "river-title" });
  picture.title = title;
  picture.root = svg(
    "svg",
    {
      role: "img", "aria-labelledby": "river-title", viewBox: `0 0 ${state.width} ${height}`,
      width: state.width, height,
    },
    title, picture.links, picture.points, picture.nodes,
  );
  points = [];
  box.replaceChildren(picture.root);
}

function draw() {
  if (!picture) return;
  const counts = STAGES.map((stage) => state.stages.get(stage) ?? 0);
  const most = Math.max(1, ...counts);
  STAGES.forEach((stage, index) => {
    const drawn = picture.stages.get(stage);
    const r = radius(counts[index], most);
    drawn.circle.setAttribute("r", r);
    drawn.circle.style.r = `${r}px`;
    drawn.circle.classList.toggle("dry", counts[index] === 0);
    const [first, second] = drawn.above ? [-r - 30, -r - 11] : [r + 24, r + 43];
    drawn.count.setAttribute("y", drawn.y + first);
    drawn.name.setAttribute("y", drawn.y + second);
    setText(drawn.count, figure(counts[index]));
    setText(drawn.name, named("stage", stage));
  });
  const widest = Math.max(1, ...[...state.flows.values()].map((flow) => flow.total));
  for (const [id, flow] of state.flows) {
    if (!layout.at[flow.from] || !layout.at[flow.to] || !flow.total) continue;
    if (!picture.paths.has(id)) {
      const path = svg("path", { d: curve(flow.from, flow.to), class: `stream ${flow.to}` });
      picture.paths.set(id, path);
      picture.links.append(path);
    }
    const width = Math.max(1.25, (flow.total / widest) * layout.most * 0.7);
    picture.paths.get(id).style.strokeWidth = `${width}px`;
  }
  const words = STAGES.map((stage, index) => `${named("stage", stage)} ${number(counts[index])}`);
  setText(picture.title, t("river_picture", { stages: words.join(", ") }));
}

function send(id, moves) {
  const path = picture?.paths.get(id);
  if (!path || calm.matches || document.hidden) return;
  const many = Math.min(moves, POINTS_PER_MOVE, POINTS_AT_MOST - points.length);
  for (let one = 0; one < many; one += 1) {
    const dot = svg("circle", { r: 3.2, class: "point", opacity: 0 });
    picture.points.append(dot);
    const starts = performance.now() + Math.random() * 1800;
    points.push({ dot, path, starts, length: path.getTotalLength() });
  }
  if (points.length && !frame) frame = requestAnimationFrame(travel);
}

function travel(now) {
  points = points.filter((point) => {
    const share = (now - point.starts) / JOURNEY_MS;
    if (share >= 1) {
      point.dot.remove();
      return false;
    }
    if (share >= 0) {
      const eased = share * share * (3 - 2 * share);
      const { x, y } = point.path.getPointAtLength(point.length * eased);
      point.dot.setAttribute("cx", x);
      point.dot.setAttribute("cy", y);
      point.dot.setAttribute("opacity", Math.min(1, 6 * share, 6 * (1 - share)));
    }
    return true;
  });
  frame = points.length ? requestAnimationFrame(travel) : 0;
}

function cells(row, head) {
  return h("tr", null, row.map((cell, index) =>
    index === 0 || head
      ? h("th", { scope: head ? "col" : "row", class: index ? "figure" : null }, cell)
      : h("td", { class: /\d|–/.test(cell) ? "figure" : null }, cell)));
}

function table(caption, head, rows) {
  return h("table", null, h("caption", null, caption),
    h("thead", null, cells(head, true)), h("tbody", null, rows.map((row) => cells(row, false))));
}

function drawTable() {
  const all = [...state.stages.values()].reduce((sum, one) => sum + one, 0);
  const stages = STAGES.map((stage) => {
    const count = state.stages.get(stage) ?? 0;
    return [named("stage", stage), number(count), all ? percent(count / all) : "–"];
  });
  const flows = [...state.flows.values()].filter((flow) => flow.total)
    .sort((one, other) => other.total - one.total)
    .map((flow) => [
      `${named("stage", flow.from)} → ${named("stage", flow.to)}`, number(flow.today ?? 0),
      number(flow.total),
    ]);
  byId("river-table").replaceChildren(
    table(t("members_by_stage"), [t("stage"), t("members"), t("share")], stages),
    flows.length
      ? table(t("moves"), [t("moves"), t("today"), t("total")], flows)
      : h("p", { class: "none" }, t("no_moves")),
  );
}

/** Takes what /stages says; moves since the last time are seen to travel. */
export function showStages(told) {
  const before = state.flows;
  state.stages = new Map(told.stages.map((one) => [one.stage, one.members]));
  state.flows = new Map((told.flows ?? []).map((flow) => [key(flow), flow]));
  draw();
  drawTable();
  if (before.size) {
    for (const [id, flow] of state.flows) {
      const moved = flow.total - (before.get(id)?.total ?? 0);
      if (moved > 0) send(id, moved);
    }
  }
}

export function redraw() {
  draw();
  drawTable();
}

new ResizeObserver(([entry]) => {
  const width = Math.floor(entry.contentRect.width);
  if (width === state.width) return;
  state.width = width;
  build();
  draw();
}).observe(box);
