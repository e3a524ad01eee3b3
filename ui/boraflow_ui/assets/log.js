// A live log: lines come over a socket of our own, only those in sight are in the page. Goes on from where it was
// after a break; what came before the first piece is loaded by scrolling up.
// Data: {attempt_id, name, open (the attempt is not closed yet), beside?}. The search, the lowest level and the wrapping stand in the
// page's address, those of a log beside another one under names of its own.
import { _, component, h, here, icon, ngettext, replace } from "./base.js";

const ROW = 19;
const KEEP = 64 << 20; // bytes of text kept in the page
const PIECE = 1 << 20;
const LEVELS = ["debug", "info", "warning", "error"];
const NUMBER = { TRACE: 0, DEBUG: 0, INFO: 1, NOTICE: 1, WARN: 2, WARNING: 2, ERROR: 3, CRITICAL: 3, FATAL: 3 };
const LEVEL = /^(?:\[?\d{4}-\d\d-\d\d[T ][\d:.,+Z-]+\]?\s+)?(?:\{[^}]*\}\s+)?\[?(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)\b/;
const GROUP = /^(?:\[?\d{4}-\d\d-\d\d[T ][\d:.,+Z-]+\]?\s+)?(?:(?:\{[^}]*\}|INFO|[\w.]+:)\s+)*::(group|endgroup)::(.*)$/;
const TIME = /^\[?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)\]?\s+/;
const ANSI = /\x1b\[([0-9;]*)m/g;
const OTHER = /\x1b(?:\[[0-9;?]*[A-Za-ln-z]|\][^\x07]*\x07)|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f]/g;
const decoder = new TextDecoder();

export default component((root, self) => {
  const query = h("input", { type: "search", placeholder: _("Search this log"), "aria-label": _("Search this log"), spellcheck: "false" });
  const found = h("span", { class: "muted num" });
  const levels = h("div", { class: "pills", role: "group", "aria-label": _("Lowest level shown") });
  const follow = h("button", { class: "button small", type: "button", "aria-pressed": "true" }, icon("tail"), _("Follow"));
  const wrap = h("button", { class: "button small", type: "button", "aria-pressed": "false" }, icon("wrap"), _("Wrap"));
  const save = h("a", { class: "button small", download: "" }, icon("down"), _("Download"));
  const status = h("span", { class: "logstatus" });
  const pad = h("div", { class: "log-pad" });
  const rows = h("div", { class: "log-rows" });
  const full = h("pre", { class: "log-full" });
  const scroll = h("div", { class: "log-scroll", tabindex: "0", role: "log", "aria-label": _("Log") }, pad, rows, full);
  const next = h("button", { class: "iconbutton", type: "button", "aria-label": _("Next match"), title: _("Next match (Enter)") }, icon("dn"));
  const back = h("button", { class: "iconbutton", type: "button", "aria-label": _("Previous match"), title: _("Previous match (Shift+Enter)") }, icon("up"));
  root.append(h("div", { class: "log" },
    h("div", { class: "log-tools" }, h("label", { class: "search" }, icon("search"), query), found, back, next, levels, h("span", { class: "grow" }), status, wrap, follow, save),
    scroll));

  let id = null, socket = null, gone = false, timer = null, retry = 0;
  let lines = [], kinds = [], bytes = 0; // text and level of each line
  let within = [], groups = [], inner = -1; // which group each line is in, the groups, the one that is open now
  const unfolded = new Set(); // headings of groups that the reader opened
  let first = 0, at = null, rest = null, dropped = false; // byte offsets of the first line and of what comes next
  let complete = false, problem = "", loading = false;
  let lowest = 0, shown = null, hits = [], hit = -1, following = true, last = 1;

  for (const [i, name] of LEVELS.entries()) {
    levels.append(h("button", { type: "button", onclick: () => {
      setLevel(i);
      say("level", i ? name : null);
      refilter();
    } }, i === 0 ? _("All") : i === 3 ? _("Errors") : i === 2 ? _("Warnings") : _("Info")));
  }

  const called = (name) => `${self.c.data[0].beside ? "beside_" : ""}${name}`;
  let sought = null, going = false;
  const told = (name) => here().get(called(name)) ?? "";
  const asked = () => ["find", "level", "wrap"].map(told).join("\n");
  function say(name, value) {
    replace({ [called(name)]: value });
    sought = asked();
  }
  function setLevel(i) {
    lowest = i;
    [...levels.children].forEach((b, j) => {
      b.classList.toggle("on", j === i);
      b.setAttribute("aria-pressed", String(j === i));
    });
  }
  function setWrap(on) {
    wrapping = on;
    wrap.setAttribute("aria-pressed", String(on));
    scroll.classList.toggle("wrapping", on);
  }
  // Show what the address says. Until the reader moves, a search goes to its last match.
  function obey() {
    if (asked() === sought) return false;
    sought = asked();
    setLevel(Math.max(0, LEVELS.indexOf(told("level"))));
    setWrap(told("wrap") === "1");
    query.value = told("find");
    pattern = query.value.toLowerCase();
    hit = -1;
    going = !!pattern;
    return true;
  }
  for (const name of ["wheel", "pointerdown", "keydown"]) scroll.addEventListener(name, () => (going = false), { passive: true });

  // --- lines in ---
  function level(text) {
    const m = LEVEL.exec(text);
    if (m) return NUMBER[m[1]];
    if (text.startsWith("Traceback (most recent call last)")) return 3;
    // A line without a level belongs to the one before: tracebacks, statements over several lines.
    return TIME.test(text) ? 1 : last;
  }
  function split(data) {
    const out = [];
    let from = 0;
    for (let i = data.indexOf(10); i >= 0; i = data.indexOf(10, from)) {
      out.push(decoder.decode(data.subarray(from, i)).replace(/\r$/, "").replace(OTHER, ""));
      from = i + 1;
    }
    return [out, data.subarray(from)];
  }
  function join(a, b) {
    if (!a?.length) return b;
    const out = new Uint8Array(a.length + b.length);
    out.set(a);
    out.set(b, a.length);
    return out;
  }
  let partial = false;
  function take(offset, data) {
    if (at === null) {
      first = at = offset;
      if (offset > 0) {
        // The tail begins within a line: that line comes with what is before it.
        const cutAt = data.indexOf(10);
        if (cutAt < 0) {
          at += data.length;
          first = at;
          return;
        }
        first = offset + cutAt + 1;
        at += cutAt + 1;
        data = data.subarray(cutAt + 1);
      }
    }
    at += data.length;
    if (partial) {
      lines.pop();
      kinds.pop();
      if (shown?.at(-1) === lines.length) shown.pop();
      if (within[lines.length] >= 0) groups[within[lines.length]].count--;
      partial = false;
      // What is not a whole line yet is no heading of a group either.
      if (groups.at(-1)?.at === lines.length) regroup();
    }
    const [added, tail] = split(join(rest, data));
    rest = tail.length ? tail.slice() : null;
    for (const text of added) push(text);
    if (rest && rest.length < 20000) {
      const keep = last;
      push(decoder.decode(rest));
      last = keep;
      partial = true;
    }
    if (bytes > KEEP) drop();
    if (going && hits.length) {
      hit = hits.length - 1;
      show(hit);
    }
    render();
  }
  function push(text) {
    last = level(text);
    lines.push(text);
    kinds.push(last);
    bytes += text.length + 1;
    const i = lines.length - 1;
    const had = groups.length;
    group(text, i);
    // The first group makes a list of what is shown necessary.
    if (groups.length !== had && !shown) shown = lines.slice(0, -1).map((_text, j) => j);
    if (shown && visible(i)) shown.push(i);
    if (pattern && matches(text)) hits.push(i);
  }

  // --- groups: lines between ::group::TITLE and ::endgroup:: are folded until the reader opens them ---
  function group(text, i) {
    const m = GROUP.exec(text);
    if (!m) {
      within[i] = inner;
      if (inner >= 0) groups[inner].count++;
      return;
    }
    if (m[1] === "group") {
      within[i] = inner;
      groups.push({ title: m[2].trim() || "…", parent: inner, at: i, count: 0, text });
      inner = groups.length - 1;
    } else {
      within[i] = -2; // the end of a group is never shown
      if (inner >= 0) inner = groups[inner].parent;
    }
  }
  function regroup() {
    groups = [];
    inner = -1;
    within = [];
    for (let i = 0; i < lines.length; i++) group(lines[i], i);
  }
  const isOpen = (g) => unfolded.has(groups[g].text);
  function visible(i) {
    if (kinds[i] < lowest || within[i] === -2) return false;
    for (let g = within[i]; g >= 0; g = groups[g].parent) if (!isOpen(g)) return false;
    return true;
  }
  const groupOf = (i) => groups.find((g) => g.at === i);
  function fold(g, open) {
    open ? unfolded.add(g.text) : unfolded.delete(g.text);
    refilter();
  }
  function drop() {
    let n = 0, size = 0;
    while (bytes - size > KEEP * 0.75) size += lines[n++].length + 1;
    lines.splice(0, n);
    kinds.splice(0, n);
    bytes -= size;
    dropped = true;
    regroup();
    refilter();
  }
  async function earlier() {
    if (loading || dropped || first <= 0 || at === null) return;
    loading = true;
    draw();
    const from = Math.max(0, first - PIECE), own = id;
    try {
      const url = new URL("log/piece", document.baseURI);
      url.search = new URLSearchParams({ attempt_id: id, from, to: first });
      const answer = await fetch(url);
      if (!answer.ok) throw new Error(await answer.text());
      let data = new Uint8Array(await answer.arrayBuffer());
      if (own !== id) return;
      let start = from;
      if (from > 0) {
        const cutAt = data.indexOf(10);
        if (cutAt >= 0) {
          start += cutAt + 1;
          data = data.subarray(cutAt + 1);
        }
      }
      const keep = last;
      const [before, tail] = split(data);
      if (tail.length) before.push(decoder.decode(tail));
      last = 1;
      const beforeKinds = before.map((t) => (last = level(t)));
      last = keep;
      const seen = anchor();
      lines = before.concat(lines);
      kinds = beforeKinds.concat(kinds);
      bytes += data.length;
      first = start;
      regroup();
      refilter(false);
      scroll.scrollTop += (count() - seen.count) * ROW;
    } catch (error) {
      problem = error.message;
    } finally {
      loading = false;
      draw();
    }
  }
  const anchor = () => ({ count: count() });

  // --- what is shown ---
  let pattern = "";
  const matches = (text) => text.toLowerCase().includes(pattern);
  const count = () => (shown ? shown.length : lines.length);
  const lineOf = (row) => (shown ? shown[row] : row);
  function refilter(redraw = true) {
    shown = null;
    if (lowest > 0 || groups.length) {
      shown = [];
      for (let i = 0; i < lines.length; i++) if (visible(i)) shown.push(i);
    }
    hits = [];
    if (pattern) for (let i = 0; i < lines.length; i++) if (kinds[i] >= lowest && matches(lines[i])) hits.push(i);
    if (hit >= hits.length) hit = -1;
    if (redraw) render();
  }
  function spans(text, into) {
    // Colours of terminals; anything else of theirs was taken out.
    const mark = (part, style) => {
      if (!part) return;
      let from = 0;
      const low = pattern ? part.toLowerCase() : "";
      const target = style ? h("span", { class: style }) : into;
      if (pattern) {
        for (let i = low.indexOf(pattern); i >= 0; i = low.indexOf(pattern, from)) {
          target.append(part.slice(from, i), h("mark", {}, part.slice(i, i + pattern.length)));
          from = i + pattern.length;
        }
      }
      target.append(part.slice(from));
      if (style) into.append(target);
    };
    let from = 0, style = "";
    ANSI.lastIndex = 0;
    for (let m = ANSI.exec(text); m; m = ANSI.exec(text)) {
      mark(text.slice(from, m.index), style);
      from = m.index + m[0].length;
      const set = new Set(style.split(" ").filter(Boolean));
      for (const code of (m[1] || "0").split(";").map(Number)) {
        if (code === 0) set.clear();
        else if (code === 1) set.add("a-bold");
        else if (code === 2) set.add("a-dim");
        else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) {
          for (const one of [...set]) if (one.startsWith("a-c")) set.delete(one);
          set.add(`a-c${code % 10}`);
        } else if (code === 39) for (const one of [...set]) if (one.startsWith("a-c")) set.delete(one);
      }
      style = [...set].join(" ");
    }
    mark(text.slice(from), style);
  }
  function line(i) {
    const text = lines[i];
    const el = h("div", { class: `log-line l${kinds[i]} ${hits[hit] === i ? "current" : ""}` });
    const m = TIME.exec(text);
    const body = h("span", { class: "text" });
    const g = groups.length ? groupOf(i) : null;
    if (g) {
      const open = unfolded.has(g.text);
      el.classList.add("grouphead");
      el.append(h("span", { class: "time" }, m ? m[1].slice(11, 23).replace(/[Z+]$/, "") : ""),
        h("button", { class: "fold", type: "button", "aria-expanded": String(open), onclick: () => fold(g, !open) },
          icon("chevron"), g.title, open ? "" : h("span", { class: "count" }, ngettext("{n} line", "{n} lines", g.count))));
      return el;
    }
    el.append(h("span", { class: "time", title: m ? `${m[1]}\n${local(m[1])}` : null }, m ? m[1].slice(11, 23).replace(/[Z+]$/, "") : ""), body);
    spans(m ? text.slice(m[0].length) : text, body);
    return el;
  }
  function local(text) {
    const d = new Date(/[Z+]|-\d\d:?\d\d$/.test(text.slice(10)) ? text.replace(" ", "T").replace(",", ".") : `${text.replace(" ", "T").replace(",", ".")}Z`);
    return Number.isNaN(+d) ? "" : `local ${d.toLocaleString()}`;
  }
  let pending = false;
  function render() {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => {
      pending = false;
      draw();
    });
  }
  let wrapping = false, widest = 0;
  function draw() {
    const n = count();
    const gap = first > 0 && !dropped ? 1 : 0;
    if (wrapping) {
      // Wrapped lines have no fixed height: the newest 2,000 are laid out by the browser.
      pad.style.height = "0px";
      rows.replaceChildren();
      const from = Math.max(0, n - 2000);
      const part = document.createDocumentFragment();
      if (from || gap) part.append(h("div", { class: "log-line l0" }, h("span", { class: "time" }), h("span", { class: "text" }, _("… earlier lines: turn wrapping off"))));
      for (let r = from; r < n; r++) part.append(line(lineOf(r)));
      full.replaceChildren(part);
    } else {
      full.replaceChildren();
      pad.style.height = `${(n + gap) * ROW + 8}px`;
      const height = scroll.clientHeight || 500;
      if (following) scroll.scrollTop = scroll.scrollHeight;
      const top = scroll.scrollTop;
      const from = Math.max(0, Math.floor(top / ROW) - gap - 12), to = Math.min(n, from + Math.ceil(height / ROW) + 26);
      const part = document.createDocumentFragment();
      if (gap && from === 0) part.append(h("div", { class: "log-line l0 gap" }, h("span", { class: "time" }), h("span", { class: "text" }, loading ? _("loading earlier lines …") : _("… {n} KiB before this: scroll up", { n: (first / 1024).toFixed(0) }))));
      for (let r = from; r < to; r++) part.append(line(lineOf(r)));
      rows.style.transform = `translateY(${(from + (gap && from > 0 ? 1 : 0)) * ROW}px)`;
      rows.replaceChildren(part);
      // Lines scroll sideways together, as wide as the widest seen.
      widest = Math.max(widest, rows.scrollWidth);
      pad.style.width = `${widest}px`;
      if (gap && top < ROW * 3 && !following) earlier();
    }
    if (wrapping && following) scroll.scrollTop = scroll.scrollHeight;
    found.textContent = pattern ? (hits.length ? `${hit >= 0 ? hit + 1 : "–"}/${hits.length}` : _("no match")) : "";
    next.hidden = back.hidden = !pattern;
    status.className = `logstatus ${problem ? "bad" : complete ? "" : "on"}`;
    status.textContent = problem ? problem : complete ? (first > 0 ? _("{n} lines of the end", { n: lines.length.toLocaleString("en") }) : ngettext("{n} line", "{n} lines", lines.length)) : socket?.readyState === 1 ? _("live") : _("connecting …");
    scroll.classList.toggle("void", !lines.length);
    scroll.setAttribute("data-void", complete ? _("This attempt wrote no log.") : _("Waiting for the first line …"));
  }
  let expected = 0;
  scroll.addEventListener("scroll", () => {
    const end = scroll.scrollTop + scroll.clientHeight >= scroll.scrollHeight - ROW * 1.5;
    if (end !== following && (end || scroll.scrollTop < expected)) setFollow(end);
    expected = scroll.scrollTop;
    if (!wrapping) render();
  });
  function setFollow(on) {
    following = on;
    follow.setAttribute("aria-pressed", String(on));
  }
  follow.addEventListener("click", () => {
    setFollow(!following);
    render();
  });
  wrap.addEventListener("click", () => {
    setWrap(!wrapping);
    say("wrap", wrapping ? "1" : null);
    render();
  });
  function show(i) {
    if (i < 0) return;
    let again = false;
    for (let g = within[hits[i]]; g >= 0; g = groups[g].parent) {
      if (!isOpen(g)) again = true;
      unfolded.add(groups[g].text);
    }
    if (again) refilter(false);
    const row = shown ? shown.indexOf(hits[i]) : hits[i];
    setFollow(false);
    if (wrapping) {
      draw();
      const line = full.querySelector(".current");
      if (line) scroll.scrollTop = line.offsetTop - 6 * ROW;
      return;
    }
    scroll.scrollTop = Math.max(0, (row - 6) * ROW);
    render();
  }
  function step(by) {
    going = false;
    if (!hits.length) return;
    hit = (hit + by + hits.length) % hits.length;
    show(hit);
  }
  query.addEventListener("input", () => {
    pattern = query.value.toLowerCase();
    hit = -1;
    going = false;
    say("find", query.value);
    refilter();
    if (hits.length) {
      hit = hits.length - 1;
      show(hit);
    }
  });
  query.addEventListener("keydown", (e) => {
    e.stopPropagation();
    if (e.key === "Enter") step(e.shiftKey ? -1 : 1);
  });
  next.addEventListener("click", () => step(1));
  back.addEventListener("click", () => step(-1));

  // --- the socket ---
  function connect() {
    clearTimeout(timer);
    if (gone || !id) return;
    const url = new URL("log", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    url.search = new URLSearchParams(at === null ? { attempt_id: id } : { attempt_id: id, offset: at });
    const own = (socket = new WebSocket(url));
    own.binaryType = "arraybuffer";
    let head = null;
    own.onopen = render;
    own.onmessage = (event) => {
      if (own !== socket) return;
      if (typeof event.data !== "string") {
        // A piece that was sent before (after a break) is skipped, never doubled.
        let offset = head.offset, data = new Uint8Array(event.data);
        if (at !== null && offset < at) {
          data = data.subarray(Math.min(data.length, at - offset));
          offset = at;
        }
        retry = 0;
        if (data.length) take(offset, data);
        return;
      }
      head = JSON.parse(event.data);
      if (head.error) {
        problem = head.reason === "LOG_NOT_FOUND" || head.reason === "ATTEMPT_NOT_FOUND" ? _("this log is no longer kept") : head.error;
        complete = head.reason?.endsWith("NOT_FOUND") ?? false;
      } else problem = "";
      if (head.complete || head.end) complete = true;
      render();
    };
    own.onclose = () => {
      if (own !== socket || gone) return;
      render();
      if (complete) return;
      retry = Math.min(retry + 1, 6);
      timer = setTimeout(connect, 150 * 2 ** retry);
    };
  }
  const resize = new ResizeObserver(render);
  resize.observe(scroll);

  return {
    follows: true,
    update(data) {
      save.href = `log/text?${new URLSearchParams({ attempt_id: data.attempt_id, name: data.name })}`;
      const other = obey();
      if (data.attempt_id === id) {
        if (other) refilter();
        // It was cut off before the attempt ended: look again.
        if (complete && data.open && !problem) {
          complete = false;
          connect();
        }
        return;
      }
      id = data.attempt_id;
      const old = socket;
      socket = null;
      old?.close();
      lines = [];
      kinds = [];
      unfolded.clear();
      regroup();
      bytes = first = retry = 0;
      at = rest = null;
      dropped = partial = complete = false;
      problem = "";
      widest = 0;
      last = 1;
      setFollow(true);
      refilter();
      connect();
    },
    destroy() {
      gone = true;
      clearTimeout(timer);
      resize.disconnect();
      socket?.close();
    },
  };
});
