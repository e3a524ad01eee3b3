// Why an attempt failed: its error, then the places in the reader's own code, the innermost first, read from the
// end of its log. Frames of libraries are folded away.
// Data: {attempt_id, title, error, tone}.
import { _, component, h, icon, ngettext } from "./base.js";

const TAIL = 128 << 10;
const FRAME = /^\s*File "([^"]+)", line (\d+)(?:, in (.+))?$/;
const LIBRARY = /\/(site-packages|dist-packages|lib\/python3[.\d]*)\/|^<frozen|^<string>/;

// The frames of the last traceback in a text; null when there is none.
export function frames(text) {
  const lines = text.split("\n");
  let at = -1;
  for (let i = lines.length - 1; i >= 0 && at < 0; i--) if (lines[i].endsWith("Traceback (most recent call last):")) at = i;
  if (at < 0) return null;
  const out = [];
  for (let i = at + 1; i < lines.length; i++) {
    const m = FRAME.exec(lines[i]);
    if (m) out.push({ file: m[1], line: Number(m[2]), name: m[3] ?? "", code: [] });
    else if (/^\s/.test(lines[i]) && out.length) {
      if (!/^[\s^~]+$/.test(lines[i])) out.at(-1).code.push(lines[i].trim());
    } else break;
  }
  return out.map((f) => ({ ...f, own: !LIBRARY.test(f.file), file: f.file.replace(/^.*\/bundles\/trees\/[0-9a-f]+\//, "") }));
}

const shown = (f) => h("li", {}, h("div", {}, h("b", { class: "mono" }, `${f.file}:${f.line}`), f.name ? h("span", { class: "muted" }, " ", _("in {name}", { name: f.name })) : ""),
  f.code.length ? h("pre", {}, f.code.join("\n")) : "");

export default component((root) => {
  let id = null;
  const places = h("div", { class: "places" });
  async function look(attempt) {
    const url = new URL("log/piece", document.baseURI);
    url.search = new URLSearchParams({ attempt_id: attempt, from: -TAIL, to: 0 });
    const answer = await fetch(url);
    if (!answer.ok || attempt !== id) return;
    const found = frames(await answer.text());
    if (!found?.length || attempt !== id) return;
    const own = found.filter((f) => f.own).reverse(), rest = found.filter((f) => !f.own).reverse();
    places.replaceChildren(
      own.length ? h("ol", { class: "frames" }, own.map(shown)) : "",
      rest.length ? h("details", {}, h("summary", {}, ngettext("{n} place in libraries", "{n} places in libraries", rest.length)), h("ol", { class: "frames" }, rest.map(shown))) : "");
  }
  return {
    update({ attempt_id, title, error, tone }) {
      root.replaceChildren(h("div", { class: `notice ${tone}`, role: "alert" }, icon("warn"), h("div", { class: "failure" }, h("b", {}, title), h("pre", {}, error), places)));
      if (attempt_id === id) return;
      id = attempt_id;
      places.replaceChildren();
      if (id) look(id).catch(() => {});
    },
    destroy() {
      id = null;
    },
  };
});
