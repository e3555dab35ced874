// Keeps the live part of the monitor fresh without reloading the page. Without this module the page still works:
// the link 「更新」 does the same by hand.
const PERIOD_MS = 5000;
const live = document.querySelector("#live");
const note = document.querySelector("#refresh-note");

async function refresh() {
  // A person who is inside the live part (reading by keyboard, or choosing text) is not interrupted.
  const busy = live.contains(document.activeElement) || !document.getSelection().isCollapsed || document.hidden;
  if (!busy) {
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", cache: "no-store" });
      if (answer.redirected) {
        location.reload();
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      live.replaceChildren(...page.querySelector("#live").childNodes);
      const alarms = page.querySelector("#alarms");
      const shown = document.querySelector("#alarms");
      // Replaced only when it changed, so that a screen reader speaks it once.
      if (alarms.textContent.trim() !== shown.textContent.trim()) shown.replaceChildren(...alarms.childNodes);
      note.hidden = true;
    } catch {
      note.hidden = false;
    }
  }
  setTimeout(refresh, PERIOD_MS);
}

setTimeout(refresh, PERIOD_MS);
