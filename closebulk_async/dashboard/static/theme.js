// Before anything is drawn, so that a page in the dark does not flash. Not a module: those run after the first paint.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("closebulk-theme");
  } catch {
    // A browser may forbid storage; then the system's colours are taken.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
