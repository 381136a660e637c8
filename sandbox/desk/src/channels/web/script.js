// Live view only: without it the page works as well, by its own refresh and the reader's.
(() => {
  // What the page was made of: what happened between then and the first event is news, too.
  const { seen } = document.currentScript.dataset;
  const events = new EventSource("events");
  const busy = () => [...document.querySelectorAll("input[type=text], textarea")].some((field) => field.value !== "");
  events.onmessage = (event) => {
    if (event.data === seen) return;
    // What somebody is writing is never taken from under their hands.
    if (busy()) { document.getElementById("changed")?.removeAttribute("hidden"); } else { location.reload(); }
  };
})();
