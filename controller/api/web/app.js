"use strict";
// The page shows what the API tells. It reads each list whole, and again (at most
// once a second) when an event says that it changed: no second copy of the
// controller's logic lives here. All text is set as text, never as HTML.

const $ = (id) => document.getElementById(id);
const pageSize = 200;
let token = sessionStorage.getItem("token") || "";

async function call(path, options = {}) {
  const headers = { ...(options.headers || {}) };
  if (token) headers.Authorization = "Bearer " + token;
  const r = await fetch(path, { ...options, headers });
  if (r.status === 401) {
    $("login").hidden = false;
    throw new Error("a token is needed");
  }
  if (!r.ok) {
    const p = await r.json().catch(() => ({}));
    throw new Error(p.detail || r.statusText);
  }
  return r;
}

const get = async (path) => (await call(path)).json();

// ---- tables

function cell(value) {
  const td = document.createElement("td");
  if (value instanceof Node) td.append(value);
  else if (value && typeof value === "object") {
    td.textContent = value.text;
    if (value.class) td.className = value.class;
    if (value.title) td.title = value.title;
  } else td.textContent = value ?? "";
  return td;
}

function fill(id, header, rows) {
  const thead = document.createElement("thead");
  const tr = thead.insertRow();
  for (const h of header) {
    const th = document.createElement("th");
    th.scope = "col";
    th.textContent = h;
    tr.append(th);
  }
  const tbody = document.createElement("tbody");
  for (const { cells, route } of rows) {
    const row = tbody.insertRow();
    for (const c of cells) row.append(cell(c));
    if (route && route.length) {
      row.addEventListener("pointerenter", () => highlight(route));
      row.addEventListener("pointerleave", () => highlight([]));
    }
  }
  $(id).replaceChildren(thead, tbody);
}

function count(id, list) {
  const el = $(id + "-count");
  if (el) el.textContent = list.items.length + (list.next ? "+" : "");
}

const colours = {
  established: "good", verified: "good", up: "good", done: "good", ok: "good", refused: "bad", skipped: "warn", installed: "warn", pending: "warn", proposed: "warn",
  running: "warn", waiting: "warn", signalling: "warn", failed: "bad", down: "bad", closed: "dim", syn: "dim", superseded: "dim",
};
const state = (s, why) => ({ text: s, class: colours[s] || "", title: why || "" });
const time = (t) => (t ? new Date(t).toLocaleTimeString() : "");
const problem = (p) => (p ? { text: p.step + ": " + p.detail + (p.remedy ? " — " + p.remedy : ""), class: "bad wrap" } : "");

const views = {
  async status() {
    const s = await get("/v1/status");
    $("instance").textContent = s.instance;
    $("status").textContent = `${s.mode} · ${s.datapaths} bridges · ${s.pes} PEs · ${s.connections} connections · ${s.subflows} subflows · ${s.orphans} orphans · ${s.bindings} bindings`;
  },
  async connections() {
    const list = await get("/v1/connections?limit=" + pageSize);
    count("connections", list);
    const rows = [];
    for (const c of list.items) {
      const route = c.subflows.flatMap((s) => [...s.flows.c2s.route, ...s.flows.s2c.route]);
      rows.push({ route, cells: [c.token, c.vpn, c.client, c.server, state(c.state), c.subflows.length, c.policy] });
      for (const s of c.subflows) {
        for (const [dir, f] of Object.entries(s.flows)) {
          const ends = (f.ingress.pe || "?") + " → " + (f.egress.pe || "?");
          rows.push({ route: f.route, cells: [{ text: "  " + s.kind + " " + dir, class: "dim" }, { text: s.verified === false ? "wrong HMAC" : "", class: "bad" },
            { text: s.client, class: "dim" }, { text: s.server, class: "dim" }, f.binding_state === "none" ? "" : state(f.binding_state), ends, f.lsp || ""] });
        }
      }
    }
    fill("connections", ["Token", "VPN", "Client", "Server", "State", "Subflows", "Policy / LSP"], rows);
  },
  async bindings() {
    const list = await get("/v1/bindings?limit=" + pageSize);
    count("bindings", list);
    fill("bindings", ["State", "PE", "LSP", "Route", "FEC", "By"], list.items.map((b) => ({
      route: b.route, cells: [state(b.state, b.reason), b.pe, b.lsp, b.route.join(" "), b.fec, b.steer],
    })));
  },
  async lsps() {
    const list = await get("/v1/lsps?limit=" + pageSize);
    count("lsps", list);
    fill("lsps", ["Name", "State", "Route", "Bindings"], list.items.map((l) => ({
      route: l.route, cells: [{ text: l.name, class: l.owned ? "" : "dim" }, state(l.state, l.reason), l.nodes.join(" "), l.bindings],
    })));
  },
  async plans() {
    const list = await get("/v1/plans?limit=20");
    count("plans", list);
    fill("plans", ["Time", "State", "Trigger", "Disjointness", "Operations", ""], list.items.map((p) => ({
      cells: [time(p.at), state(p.state, p.reason), { text: p.trigger, class: "wrap" }, p.demands.map((d) => d.before + " → " + d.after).join(", "), p.ops.length, approveButton(p)],
    })));
  },
  async pes() {
    const [pes, dps, mirrors] = await Promise.all([get("/v1/pes?limit=1000"), get("/v1/datapaths?limit=1000"), get("/v1/mirrors?limit=1000")]);
    fill("pes", ["PE", "Driver", "Reached", "LSPs", "FTNs", "Sets", "Error"], pes.items.map((p) => ({
      cells: [p.name, p.driver, p.reachable ? { text: "yes", class: "good" } : { text: "no", class: "bad" }, p.lsps, p.ftns, p.sets_sent, problem(p.error)],
    })));
    fill("datapaths", ["Bridge", "DPID", "Connected", "Punts", "Dropped", "Error"], dps.items.map((d) => ({
      cells: [d.name || "(unknown)", d.dpid, d.connected ? { text: "yes", class: "good" } : { text: "no", class: "bad" }, d.tap.punts, d.tap.dropped, problem(d.error)],
    })));
    fill("mirrors", ["Mirror", "Interface", "State", "Frames", "Dropped", "Error"], mirrors.items.map((m) => ({
      cells: [m.name, m.interface, { text: m.state, class: m.state === "listening" ? "good" : "bad" }, m.frames, m.dropped, problem(m.error)],
    })));
  },
  async changes() {
    const list = await get("/v1/changes?limit=100");
    count("changes", list);
    fill("changes", ["Time", "Who", "Action", "Subject", "PE", "Result", "Detail"], list.items.map((c) => ({
      cells: [time(c.at), c.actor, c.action, c.subject, c.pe || "", state(c.result), { text: [c.step, c.detail, c.remedy].filter(Boolean).join(": "), class: "wrap" }],
    })));
  },
  async topology() { draw(await get("/v1/topology")); },
};

function approveButton(p) {
  if (p.state !== "proposed") return "";
  const b = document.createElement("button");
  b.textContent = "Approve";
  b.addEventListener("click", async () => {
    b.disabled = true;
    try { await call("/v1/plans/" + encodeURIComponent(p.id) + "/approve", { method: "POST" }); } catch (e) { alert(e.message); }
    refresh("plans");
  });
  return b;
}

// ---- topology

const svgNS = "http://www.w3.org/2000/svg";
function shape(name, attributes, parent) {
  const el = document.createElementNS(svgNS, name);
  for (const [k, v] of Object.entries(attributes)) el.setAttribute(k, v);
  parent.append(el);
  return el;
}

// layout places nodes by springs, from a fixed start: the same topology always
// looks the same. PEs begin at the sides.
function layout(nodes, edges) {
  const at = new Map();
  const pes = nodes.filter((n) => n.pe);
  nodes.forEach((n, i) => {
    const side = pes.indexOf(n);
    const angle = (2 * Math.PI * i) / nodes.length;
    at.set(n.name, side < 0 ? { x: 400 + 150 * Math.cos(angle), y: 210 + 120 * Math.sin(angle) }
      : { x: side % 2 ? 740 : 60, y: 60 + (300 * (Math.floor(side / 2) + 0.5)) / Math.ceil(pes.length / 2), fixed: true });
  });
  for (let step = 0; step < 300; step++) {
    const heat = 12 * (1 - step / 300);
    const force = new Map(nodes.map((n) => [n.name, { x: 0, y: 0 }]));
    for (const a of nodes) for (const b of nodes) {
      if (a === b) continue;
      const p = at.get(a.name), q = at.get(b.name), f = force.get(a.name);
      const dx = p.x - q.x || 0.1, dy = p.y - q.y || 0.1, d2 = Math.max(dx * dx + dy * dy, 25);
      f.x += (dx * 9000) / d2 / Math.sqrt(d2); f.y += (dy * 9000) / d2 / Math.sqrt(d2);
    }
    for (const e of edges) {
      const p = at.get(e.from), q = at.get(e.to);
      const dx = q.x - p.x, dy = q.y - p.y, d = Math.hypot(dx, dy) || 1, pull = (d - 90) / 40;
      force.get(e.from).x += (dx / d) * pull; force.get(e.from).y += (dy / d) * pull;
      force.get(e.to).x -= (dx / d) * pull; force.get(e.to).y -= (dy / d) * pull;
    }
    for (const n of nodes) {
      const p = at.get(n.name), f = force.get(n.name), size = Math.hypot(f.x, f.y) || 1;
      if (p.fixed) continue;
      p.x = Math.min(760, Math.max(40, p.x + (f.x / size) * Math.min(size, heat)));
      p.y = Math.min(390, Math.max(30, p.y + (f.y / size) * Math.min(size, heat)));
    }
  }
  return at;
}

let drawn = "";
function draw(t) {
  const edges = new Map();
  for (const l of t.links) {
    const e = edges.get(l.name);
    if (!e) edges.set(l.name, { name: l.name, from: l.from, to: l.to, down: l.down, metric: l.te_metric, lsps: l.lsps.length });
    else { e.down = e.down || l.down; e.lsps += l.lsps.length; }
  }
  const key = JSON.stringify([t.nodes, [...edges.values()]]);
  if (key === drawn) return;
  drawn = key;
  const at = layout(t.nodes, [...edges.values()]);
  const svg = $("topology");
  svg.replaceChildren();
  for (const e of edges.values()) {
    const p = at.get(e.from), q = at.get(e.to);
    const line = shape("line", { x1: p.x, y1: p.y, x2: q.x, y2: q.y, class: "link" + (e.down ? " down" : ""), "data-link": e.name }, svg);
    shape("title", {}, line).textContent = `${e.name}: TE metric ${e.metric}, ${e.lsps} LSPs${e.down ? ", down" : ""}`;
    shape("text", { x: (p.x + q.x) / 2, y: (p.y + q.y) / 2 - 6, class: "metric" }, svg).textContent = e.metric;
  }
  for (const n of t.nodes) {
    const p = at.get(n.name);
    const g = shape("g", { class: "node" + (n.pe ? " pe" : ""), transform: `translate(${p.x} ${p.y})` }, svg);
    shape("circle", { r: 22 }, g);
    shape("text", {}, g).textContent = n.name;
    shape("title", {}, g).textContent = n.router_id || n.name;
  }
}

function highlight(route) {
  const on = new Set(route);
  for (const l of document.querySelectorAll("[data-link]")) l.classList.toggle("on", on.has(l.dataset.link));
}

// ---- events

const dirty = new Set();
let timer = 0;
function refresh(...names) {
  for (const n of names) dirty.add(n);
  if (timer) return;
  timer = setTimeout(async () => {
    timer = 0;
    const now = [...dirty];
    dirty.clear();
    const results = await Promise.allSettled(now.map((n) => views[n]()));
    const bad = results.find((r) => r.status === "rejected");
    if (bad) $("status").textContent = bad.reason.message;
  }, document.body.dataset.ready ? 1000 : 0);
}

const concerns = {
  connection: ["connections", "status"], subflow: ["connections", "status"], binding: ["bindings", "connections", "lsps", "status"],
  datapath: ["pes", "status"], mirror: ["pes"], pe: ["pes", "status"], lsp: ["lsps", "topology"], topology: ["topology"], demand: ["plans"], plan: ["plans"],
  threshold: ["changes"], mode: ["status"], change: ["changes"],
};

// EventSource cannot send a token, so the stream is read by fetch.
async function listen() {
  let last = "";
  for (;;) {
    try {
      const r = await call("/v1/events", last ? { headers: { "Last-Event-ID": last } } : {});
      if (!last) refresh(...Object.keys(views));
      document.body.dataset.ready = "yes";
      const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        for (const b of blocks) {
          const line = b.split("\n").find((l) => l.startsWith("data: "));
          if (!line) continue;
          const e = JSON.parse(line.slice(6));
          last = String(e.id);
          refresh(...(concerns[e.type] || Object.keys(views)));
        }
      }
    } catch (e) {
      $("status").textContent = e.message + "; trying again";
    }
    await new Promise((r) => setTimeout(r, 2000));
  }
}

$("login").addEventListener("submit", (e) => {
  e.preventDefault();
  token = $("token").value.trim();
  sessionStorage.setItem("token", token);
  $("login").hidden = true;
  refresh(...Object.keys(views));
});
// Numbers without events of their own, such as counters.
setInterval(() => refresh("status", "pes"), 5000);
listen();
