// Keeps one socket to the server and tells the page that what it shows has changed. A tab in the background waits
// until it is looked at. Also goes to a link when the page asks for it.
import { component, go, panel } from "./base.js";

// Draw the whole page anew, as going back and forth would. A message to a server that is not there is lost, so it is
// said again until an answer has come.
const connected = () => {
  const state = document.querySelector("[data-test-connection-state]")?.getAttribute("data-test-connection-state");
  return state === undefined || state === "CONNECTED";
};

export default component((root, self) => {
  let socket = null, address = null, seen = null, gone = false, retry = 0, timer = null, turn = null, dirty = false;

  // What is said while Streamlit is at a run of its own (a dialog that closes) can be lost in it, and where nothing
  // changes any more nothing would be said again. So what has not been drawn by then is asked for once more.
  let settled = null;
  function changed() {
    tell();
    clearTimeout(settled);
    settled = setTimeout(() => panel.version < seen && tell(), 1500);
  }

  let run = null, broken = false, again = null;
  function redraw(tries = 0) {
    clearTimeout(again);
    if (gone || !broken) return;
    if (connected() || tries > 40) window.dispatchEvent(new PopStateEvent("popstate", { state: {} }));
    again = setTimeout(redraw, connected() ? 1500 : 250, tries + 1);
  }

  // The page that the address names, and the one that was drawn: they differ while the reader is on the way to another.
  let drawn = null, left = null;
  function leaving() {
    if (drawn === null || location.pathname.split("/").at(-1) === drawn) left = null;
    else left ??= Date.now();
    // An address that no page has is never arrived at.
    return left !== null && Date.now() - left < 10_000;
  }
  function tell() {
    // What is said of the old page while the new one is asked for would take its place, and lose the click.
    if (document.hidden || leaving()) {
      dirty = true;
      return;
    }
    dirty = false;
    self.c.setTriggerValue("changed", Date.now());
  }
  function look() {
    if (!document.hidden && dirty) tell();
  }
  document.addEventListener("visibilitychange", look);

  function connect() {
    if (gone) return;
    const own = (socket = new WebSocket(address));
    own.onmessage = (event) => {
      retry = 0;
      const { version } = JSON.parse(event.data);
      if (broken) {
        seen = version;
        redraw();
        return;
      }
      if (version === seen) return;
      seen = version;
      changed();
    };
    own.onclose = () => {
      if (own !== socket || gone) return;
      // After a break nothing is known, not even whether it is the same server.
      broken = true;
      panel.version = 0;
      retry = Math.min(retry + 1, 6);
      timer = setTimeout(connect, 150 * 2 ** retry * (0.8 + 0.4 * Math.random()));
    };
  }

  return {
    update(data) {
      drawn = data.page;
      if (dirty) setTimeout(look);
      if (data.run !== run) {
        run = data.run;
        broken = false;
        clearTimeout(again);
      }
      if (data.go && turn !== null && data.go.turn !== turn) go(data.go.href);
      turn = data.go?.turn ?? 0;
      const url = new URL("live", document.baseURI);
      url.protocol = url.protocol.replace("http", "ws");
      if (data.dag_id) url.searchParams.set("dag_id", data.dag_id);
      if (data.run_id && data.run_id !== "latest") url.searchParams.set("run_id", data.run_id);
      if (url.href === address) return;
      address = url.href;
      seen = data.version;
      clearTimeout(timer);
      const old = socket;
      socket = null;
      old?.close();
      connect();
    },
    destroy() {
      gone = true;
      clearTimeout(timer);
      clearTimeout(again);
      clearTimeout(settled);
      document.removeEventListener("visibilitychange", look);
      socket?.close();
    },
  };
});
