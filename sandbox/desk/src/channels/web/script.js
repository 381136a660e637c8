// Live view only: without it the page works as well, by its own refresh and the reader's.
(() => {
  const events = new EventSource("events");
  let first = null;
  const busy = () => [...document.querySelectorAll("input[type=text], textarea")].some((field) => field.value !== "");
  events.onmessage = (event) => {
    if (first === null) { first = event.data; return; }
    if (event.data === first) return;
    first = event.data;
    // What somebody is writing is never taken from under their hands.
    if (busy()) { document.getElementById("changed")?.removeAttribute("hidden"); } else { location.reload(); }
  };
})();
