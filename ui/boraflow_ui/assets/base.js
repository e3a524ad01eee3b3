// What all components share: mounting, elements, links, times, states, tooltips.
// A component is `export default component((root, self) => ({update(data) {...}, destroy() {...}, follows}))`; one that `follows`
// draws what the page's address says: it is brought up to date when that changes, also where its data do not.
// Text from outside reaches the page through textContent only.

const sheets = await Promise.all(
  ["boraflow", "dags", "admin"].map(async (name) => {
    const sheet = new CSSStyleSheet();
    return sheet.replace(await (await fetch(new URL(`./${name}.css`, import.meta.url))).text());
  }),
);

// --- languages -----------------------------------------------------------------------------------

export const cookie = (name) => document.cookie.split("; ").find((c) => c.startsWith(`${name}=`))?.slice(name.length + 1);
const LANGUAGES = ["en", "ko"];
export const language = [cookie("bora_language"), navigator.language.split("-")[0]].find((l) => LANGUAGES.includes(l)) ?? "en";
const said = language === "en" ? {} : await (await fetch(new URL(`./${language}.json`, import.meta.url))).json();
const put = (text, values) => (values ? text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all) : text);
// A message in the reader's language; values are filled in by name: _("{n} of {total}", {n, total}).
export const _ = (text, values) => put(said[text] ?? text, values);
export const ngettext = (one, many, n, values) =>
  put(language === "en" ? (n === 1 ? one : many) : (said[one] ?? many), { n: n.toLocaleString("en"), ...values });

// What the page shows is as new as this version (see live.js); 0 while that is not known.
export const panel = { version: 0 };

const instances = new WeakMap();
const roots = new Set(), all = new Set();

export function component(build) {
  return (c) => {
    const parent = c.parentElement;
    let self = instances.get(parent);
    if (!self) {
      const node = parent.getRootNode();
      if (node instanceof ShadowRoot && !node.adoptedStyleSheets.includes(sheets[0])) {
        node.adoptedStyleSheets = [...node.adoptedStyleSheets, ...sheets];
      }
      const root = h("div", { class: "bf" });
      parent.append(root);
      self = { root, c, path: location.pathname };
      instances.set(parent, self);
      roots.add(root);
      all.add(self);
      followLinks(root);
      showTips(root);
      self.view = build(root, self);
    }
    self.c = c;
    self.view.update(c.data[0]);
    return () => {
      if (instances.get(parent) !== self) return;
      instances.delete(parent);
      roots.delete(self.root);
      all.delete(self);
      self.view.destroy?.();
      self.root.remove();
    };
  };
}

window.addEventListener("popstate", () => {
  for (const self of all) if (self.view?.follows && self.path === location.pathname) self.view.update(self.c.data[0]);
});

// --- elements ------------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";

function fill(element, props, kids) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style" && typeof value === "object") {
      for (const [k, v] of Object.entries(value)) element.style.setProperty(k, v);
    } else element.setAttribute(name, value === true ? "" : value);
  }
  for (const kid of kids.flat(2)) {
    if (kid === null || kid === undefined || kid === false) continue;
    element.append(kid);
  }
  return element;
}

export const h = (tag, props, ...kids) => fill(document.createElement(tag), props, kids);
// What a button does: the second click of a double click does nothing, also where another button stands by then.
export const once = (act) => (event) => event.detail > 1 || act(event);
export const s = (tag, props, ...kids) => fill(document.createElementNS(SVG, tag), props, kids);

// Make the children of `parent` those of `items`, keeping the elements whose key stays; `make(item)` builds one,
// `touch(element, item)` brings one up to date. Elements are moved only where the order changed.
export function reconcile(parent, items, key, make, touch) {
  const known = (parent._known ??= new Map());
  const seen = new Set();
  let at = parent.firstChild;
  for (const item of items) {
    const k = key(item);
    seen.add(k);
    let element = known.get(k);
    const text = JSON.stringify(item);
    if (!element) {
      element = make(item);
      known.set(k, element);
      touch?.(element, item);
    } else if (element._text !== text) {
      touch?.(element, item);
    }
    element._text = text;
    if (element === at) at = at.nextSibling;
    else parent.insertBefore(element, at);
  }
  for (const [k, element] of known) {
    if (!seen.has(k)) {
      element.remove();
      known.delete(k);
    }
  }
}

const ICONS = {
  play: "M5 3.5v9l7.5-4.5z",
  pause: "M4.5 3.5v9M11.5 3.5v9",
  stop: "M4 4h8v8H4z",
  redo: "M12.5 8a4.5 4.5 0 1 1-1.4-3.3M12.5 2.5v3h-3",
  check: "M3.5 8.5l3 3 6-7",
  chevron: "M6 4l4 4-4 4",
  search: "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM10.4 10.4L14 14",
  warn: "M8 2.5l6 11H2zM8 6.5v3.5M8 12v.1",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  fit: "M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10",
  down: "M8 3v8M4.5 8L8 11.5 11.5 8M3 13.5h10",
  tail: "M8 2.5v8M4.5 7L8 10.5 11.5 7M3.5 13.5h9",
  up: "M4 10l4-4 4 4",
  dn: "M4 6l4 4 4-4",
  pencil: "M3 13l.7-2.8L10.5 3.4l2.1 2.1-6.8 6.8z",
  help: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM6.3 6.2c.2-1 .9-1.5 1.8-1.5 1 0 1.7.6 1.7 1.5 0 1.2-1.7 1.3-1.7 2.5M8 11v.1",
  close: "M4 4l8 8M12 4l-8 8",
  wrap: "M2.5 4h11M2.5 8h8.5a2 2 0 0 1 0 4H8M9.5 10.5L8 12l1.5 1.5M2.5 12h2.5",
  clock: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 4.8V8l2.3 1.6",
  user: "M8 8a2.6 2.6 0 1 0 0-5.2A2.6 2.6 0 0 0 8 8zM3 13.6c.5-2.4 2.5-3.7 5-3.7s4.5 1.3 5 3.7",
  trash: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.6 9h5.8l.6-9M6.8 7v4M9.2 7v4",
  plug: "M6 2.5V5M10 2.5V5M4.5 5h7v2.5a3.5 3.5 0 0 1-7 0zM8 11v3",
  upload: "M8 10.5V3M4.5 6L8 2.5 11.5 6M3 13.5h10",
  key: "M10.3 9.2a3.2 3.2 0 1 0-3-2.2L2.5 11.8v1.7h2v-1.4h1.5v-1.5h1.4l.9-.9c.6.3 1.3.4 2 .3zM10.8 5.7v.1",
  out: "M9 2.5h4.5V7M13.5 2.5L7.5 8.5M6.5 3.5h-4v10h10v-4",
  star: "M8 2.2l1.8 3.7 4 .6-2.9 2.8.7 4L8 11.4l-3.6 1.9.7-4L2.2 6.5l4-.6z",
  note: "M3 2.5h10v8l-3 3H3zM13 10.5h-3v3M5.5 6h5M5.5 8.5h3",
  log: "M3 3.5h10M3 6.5h10M3 9.5h6M3 12.5h8",
  calendar: "M2.5 4h11v9.5h-11zM2.5 7h11M5.5 2v3M10.5 2v3",
  group: "M3 3h4v4H3zM9 3h4v4H9zM3 9h4v4H3zM9 9h4v4H9z",
};
export function icon(name, title) {
  return s(
    "svg",
    { class: `icon icon-${name}`, viewBox: "0 0 16 16", "aria-hidden": title ? null : "true", role: title ? "img" : null },
    title && s("title", {}, title),
    s("path", { d: ICONS[name] }),
  );
}

// --- links ---------------------------------------------------------------------------------------

// Go to a page of the app as the browser's own back and forward do: one history entry, the same session.
export function go(href, { replace = false } = {}) {
  const url = new URL(href, document.baseURI);
  if (url.href === location.href) return;
  const path = url.pathname !== location.pathname;
  if (replace) history.replaceState({}, "", url);
  else (window.boraflow?.push ?? history.pushState.bind(history))({}, "", url);
  window.dispatchEvent(new PopStateEvent("popstate", { state: {} }));
  if (path) document.querySelector('[data-testid="stMain"]')?.scrollTo(0, 0);
}

export function open(event, href) {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.button === 1) window.open(href, "_blank");
  else go(href);
}

function followLinks(root) {
  root.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const a = event.target.closest("a[href]");
    if (!a || a.target === "_blank" || a.hasAttribute("download") || a.hasAttribute("data-reload")) return;
    const url = new URL(a.href.baseVal ?? a.href, document.baseURI);
    if (url.origin !== location.origin) return;
    event.preventDefault();
    // Made from the address as it is now: it may have changed since the link was drawn.
    go(a._changes && url.pathname === location.pathname ? withParams(a._changes()) : url.href);
  });
}

// An element's link to this page with some parameters changed, however quickly one is followed after another.
export function turns(a, changes) {
  a._changes = typeof changes === "function" ? changes : () => changes;
  a.setAttribute("href", withParams(a._changes()));
  return a;
}

export const here = () => new URLSearchParams(location.search);
// A link to this page with some parameters changed; null takes one away.
export function withParams(changes) {
  const params = here();
  for (const [k, v] of Object.entries(changes)) {
    params.delete(k);
    for (const one of Array.isArray(v) ? v : [v]) if (one !== null && one !== undefined && one !== "") params.append(k, one);
  }
  const text = params.toString();
  return location.pathname + (text ? `?${text}` : "");
}

// Say in this page's address what is seen, where the browser alone draws it.
export const replace = (changes) => history.replaceState(history.state, "", withParams(changes));

// --- times ---------------------------------------------------------------------------------------

const two = (n) => String(n).padStart(2, "0");
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
// Times are UTC, or with the menu's switch the reader's own; the other one is told on hover.
export const ownZone = cookie("bora_zone") === "local";
const zoneWord = ownZone ? "" : " UTC";
// The same moment as a date whose UTC fields read as the wall clock of the zone.
const wall = (ms, own = ownZone) => {
  const d = new Date(ms);
  return own ? new Date(ms - d.getTimezoneOffset() * 60000) : d;
};
const full = (d) => `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())} ${two(d.getUTCHours())}:${two(d.getUTCMinutes())}:${two(d.getUTCSeconds())}`;
export const stamp = (ms) => full(wall(ms));
export function shortStamp(ms) {
  const d = wall(ms), now = wall(Date.now());
  const clock = `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}`;
  if (Math.abs(now - d) < 864e5 && d.getUTCDate() === now.getUTCDate()) return `${clock}:${two(d.getUTCSeconds())}`;
  const day = language === "ko" ? `${d.getUTCMonth() + 1}월 ${d.getUTCDate()}일` : `${MONTHS[d.getUTCMonth()]} ${d.getUTCDate()}`;
  if (d.getUTCFullYear() === now.getUTCFullYear()) return `${day} ${clock}`;
  return language === "ko" ? `${d.getUTCFullYear()}년 ${day}` : `${day} ${d.getUTCFullYear()}`;
}
export function bothZones(ms) {
  const utc = `${full(wall(ms, false))}.${String(new Date(ms).getUTCMilliseconds()).padStart(3, "0")} UTC`;
  const local = [full(wall(ms, true)), _("local ({zone})", { zone })].join(" ");
  return ownZone ? `${local}\n${utc}` : `${utc}\n${local}`;
}
export function span(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "";
  if (ms < 0) ms = 0;
  if (ms < 1) return _("<1 ms");
  if (ms < 1000) return _("{n} ms", { n: Math.round(ms) });
  const sec = ms / 1000;
  if (sec < 10) return _("{n} s", { n: sec.toFixed(2) });
  if (sec < 60) return _("{n} s", { n: sec.toFixed(1) });
  if (sec < 3600) return _("{m} min {s} s", { m: Math.floor(sec / 60), s: two(Math.floor(sec % 60)) });
  if (sec < 86400) return _("{h} h {m} min", { h: Math.floor(sec / 3600), m: two(Math.floor((sec % 3600) / 60)) });
  return _("{d} d {h} h", { d: Math.floor(sec / 86400), h: Math.floor((sec % 86400) / 3600) });
}
export function ago(ms) {
  const diff = Date.now() - ms, a = Math.abs(diff) / 1000;
  const text =
    a < 60 ? _("{n} s", { n: Math.floor(a) }) : a < 3600 ? _("{n} min", { n: Math.floor(a / 60) })
    : a < 86400 ? _("{n} h", { n: Math.floor(a / 3600) }) : _("{n} d", { n: Math.floor(a / 86400) });
  return diff >= 0 ? (a < 1 ? _("now") : _("{time} ago", { time: text })) : _("in {time}", { time: text });
}

// A moment: "15:05:48" or "Nov 21 15:05", with how long ago; both zones on hover.
export function moment(ms, { relative = true, full: whole = false } = {}) {
  if (ms === null || ms === undefined) return h("span", { class: "none" }, "–");
  const el = h("time", { class: "moment", "data-tip": bothZones(ms), datetime: new Date(ms).toISOString() });
  el.append(whole ? stamp(ms) + zoneWord : shortStamp(ms));
  if (relative) {
    const rel = h("span", { class: "rel", "data-tick": "" });
    rel._tick = () => (rel.textContent = ago(ms));
    rel._tick();
    el.append(rel);
  }
  return el;
}
// How long from `from` to `to`; runs while `to` is missing.
export function length(from, to) {
  if (from === null || from === undefined) return h("span", { class: "none" }, "–");
  const el = h("span", { class: "length" });
  if (to === null || to === undefined) {
    el.setAttribute("data-tick", "");
    el._tick = () => (el.textContent = span(Math.max(0, Date.now() - from)));
    el._tick();
  } else el.textContent = span(to - from);
  return el;
}
setInterval(() => {
  if (document.hidden) return;
  for (const root of roots) for (const el of root.querySelectorAll("[data-tick]")) el._tick?.();
}, 1000);

// --- states --------------------------------------------------------------------------------------

const WORDS = {
  none: _("no state yet"), scheduled: _("scheduled"), queued: _("queued"), running: _("running"), restarting: _("restarting"),
  up_for_retry: _("up for retry"), up_for_reschedule: _("up for reschedule"), deferred: _("deferred"),
  awaiting_input: _("awaiting input"), success: _("success"), failed: _("failed"), skipped: _("skipped"),
  upstream_failed: _("upstream failed"), removed: _("removed"), lost: _("lost"), timed_out: _("timed out"),
  cancelled: _("cancelled"), rescheduled: _("rescheduled"), fired: _("fired"), open: _("open"), online: _("online"),
  draining: _("draining"), offline: _("offline"), paused: _("paused"), active: _("active"), completed: _("completed"),
};
const RUN_KINDS = {
  manual: _("manual"), scheduled: _("scheduled"), backfill: _("backfill"), asset_triggered: _("asset triggered"),
  operator_triggered: _("operator triggered"),
};
export const kindWord = (kind) => RUN_KINDS[kind] ?? kind.replaceAll("_", " ");
export const word = (state) => WORDS[state] ?? state.replaceAll("_", " ");
export const CODES = { n: "none", c: "scheduled", q: "queued", r: "running", x: "restarting", y: "up_for_retry",
  p: "up_for_reschedule", d: "deferred", a: "awaiting_input", s: "success", f: "failed", k: "skipped",
  u: "upstream_failed", m: "removed" };
export const ORDER = ["failed", "upstream_failed", "up_for_retry", "restarting", "running", "awaiting_input",
  "up_for_reschedule", "deferred", "queued", "scheduled", "none", "success", "skipped", "removed"];
const RANK = Object.fromEntries(ORDER.map((state, i) => [state, i]));
export const worst = (states) => states.reduce((a, b) => ((RANK[b] ?? 99) < (RANK[a] ?? 99) ? b : a), "removed");
export const state = (name, text) => h("span", { class: "state", "data-s": name }, h("i"), text ?? word(name));
// A bar of parts, one per state, with the numbers on hover.
export function counts(of, { numbers = false } = {}) {
  const entries = ORDER.filter((k) => of[k]).map((k) => [k, of[k]]);
  const total = entries.reduce((n, [, v]) => n + v, 0);
  const bar = h("span", { class: "counts", "data-tip": entries.map(([k, v]) => `${v}  ${word(k)}`).join("\n") || _("nothing yet") });
  for (const [k, v] of [...entries].reverse()) bar.append(h("i", { "data-s": k, style: { flex: `${v} 0 0` } }));
  if (!numbers) return bar;
  const done = ["success", "skipped", "failed", "upstream_failed", "removed"].reduce((n, k) => n + (of[k] || 0), 0);
  return h("span", { class: "countline" }, bar, h("span", { class: "muted num" }, `${done}/${total}`));
}

// What a fact may be: text, {at}, {from, to}, {state}, {counts}, {href, text} or {code}.
export function value(v) {
  if (v === null || v === undefined || v === "") return h("span", { class: "none" }, "–");
  if (typeof v !== "object") return h("span", {}, String(v));
  if ("at" in v) return moment(v.at, { relative: v.relative ?? !v.full, full: v.full });
  if ("from" in v) return length(v.from, v.to);
  if ("state" in v) return state(v.state);
  if ("counts" in v) return counts(v.counts, { numbers: true });
  if ("href" in v) return h("a", { href: v.href }, v.text);
  return h("code", {}, v.code);
}

// --- tooltips ------------------------------------------------------------------------------------

function showTips(root) {
  let tip = null, shown = null;
  const hide = () => {
    tip?.remove();
    tip = shown = null;
  };
  const show = (target) => {
    if (target === shown) return;
    hide();
    if (!target) return;
    shown = target;
    const text = target._tip ? target._tip() : target.getAttribute("data-tip");
    if (!text) return;
    tip = h("div", { class: "tip", role: "tooltip" });
    for (const [i, line] of (Array.isArray(text) ? text : text.split("\n")).entries()) {
      tip.append(typeof line === "string" ? h("div", { class: i ? "" : "first" }, line) : line);
    }
    root.append(tip);
    const r = target.getBoundingClientRect(), t = tip.getBoundingClientRect();
    let x = r.left + Math.min(r.width, 240) / 2 - t.width / 2;
    let y = r.top - t.height - 8;
    if (y < 4) y = r.bottom + 8;
    x = Math.max(6, Math.min(x, innerWidth - t.width - 6));
    tip.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
    tip.classList.add("on");
  };
  root.addEventListener("pointerover", (event) => show(event.target.closest("[data-tip]")));
  // Who goes by keyboard reads the same.
  root.addEventListener("focusin", (event) => event.target.matches(":focus-visible") && show(event.target.closest("[data-tip]")));
  root.addEventListener("focusout", hide);
  root.showTip = show;
  root.addEventListener("pointerleave", hide);
  root.addEventListener("pointerdown", hide);
  root.hideTip = hide;
}
