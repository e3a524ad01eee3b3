// The keyboard: what pressing a key does on every page, and the list of all keys, which "?" opens.
import { _, go, h, icon } from "./base.js";

const PAGES = [["h", "", _("Home")], ["d", "dags", _("DAGs")], ["a", "assets", _("Assets")], ["q", "questions", _("Required actions")], ["e", "executors", _("Executors")], ["i", "errors", _("Import errors")]];
const LIST = [
  [_("Everywhere"), [
    [["?"], _("This list")],
    [["/"], _("Search on this page")],
    [["t"], _("Times in UTC, or in your zone")],
    ...PAGES.map(([key, , name]) => [["g", key], _("Go to {name}", { name })]),
    [["Esc"], _("Close a dialog")],
  ]],
  [_("In a grid or graph"), [
    [["←", "→", "↑", "↓"], _("Go from cell to cell, from task to task")],
    [["Enter"], _("Open it")],
    [["+", "−", "0"], _("Zoom in, zoom out, show all")],
  ]],
];

// The list, and the button that opens it; `zones` does what the switch of the zone does.
export function keys(zones) {
  const close = h("button", { class: "iconbutton", type: "button", "aria-label": _("Close"), onclick: () => list.close() }, icon("close"));
  const list = h("dialog", { class: "keys", "aria-label": _("Keyboard shortcuts") },
    h("div", { class: "keyhead" }, h("b", {}, _("Keyboard shortcuts")), h("span", { class: "grow" }), close),
    LIST.map(([title, rows]) => [h("div", { class: "muted" }, title), h("dl", {}, rows.map(([caps, what]) => h("div", {}, h("dt", {}, caps.map((c) => h("kbd", {}, c))), h("dd", {}, what))))]));
  const button = h("button", { class: "menubutton", type: "button", "aria-label": _("Keyboard shortcuts"), "data-tip": _("Keyboard shortcuts (?)"), onclick: () => list.showModal() }, icon("help"));
  let went = 0;
  const pressed = (e) => {
    const at = e.composedPath()[0];
    if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || e.repeat) return;
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName ?? "") || at.isContentEditable || list.open) return;
    // What a dialog or a menu does with its keys is its own affair.
    if (document.querySelector('[role="dialog"], [role="menu"]')) return;
    if (e.key === "?") list.showModal();
    else if (e.key === "t") zones();
    else if (e.key === "g") went = Date.now();
    else if (Date.now() - went < 1500) {
      const page = PAGES.find(([key]) => key === e.key);
      went = 0;
      if (page) go(page[1] || ".");
    }
  };
  document.addEventListener("keydown", pressed);
  return { button, list, destroy: () => document.removeEventListener("keydown", pressed) };
}
