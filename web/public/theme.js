// Before the first paint, so that a dark page never flashes white. A file of its own because the
// content security policy allows no inline script.
(() => {
  let choice = null;
  try {
    choice = JSON.parse(localStorage.getItem("mistle:theme") ?? "null");
  } catch {
    // The system decides.
  }
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme =
    choice === "light" || choice === "dark" ? choice : dark ? "dark" : "light";
})();
