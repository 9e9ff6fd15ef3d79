"use strict";
(function () {
  const root = document.documentElement;
  const button = document.getElementById("scheme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");

  // Storage is refused to some pages that were opened from disk.
  function stored() { try { return localStorage.getItem("scheme"); } catch { return null; } }
  function store(scheme) { try { localStorage.setItem("scheme", scheme); } catch { /* for this visit only */ } }

  function isDark() { return (root.dataset.scheme || (system.matches ? "dark" : "light")) === "dark"; }
  function show() { button.textContent = isDark() ? "Light" : "Dark"; }

  if (stored()) root.dataset.scheme = stored();
  button.hidden = false;
  button.addEventListener("click", function () {
    root.dataset.scheme = isDark() ? "light" : "dark";
    store(root.dataset.scheme);
    show();
  });
  system.addEventListener("change", show);
  show();

  // A link to a folded run unfolds it.
  function unfold() {
    const target = document.getElementById(location.hash.slice(1));
    if (target && target.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
  }
  window.addEventListener("hashchange", unfold);
  unfold();

  // On paper nothing can be unfolded; the runs' own facts are in the tables of comparison.md.
  let folded = [];
  window.addEventListener("beforeprint", function () {
    folded = Array.from(document.querySelectorAll("details:not([open]):not(.runs details)"));
    for (const details of folded) details.open = true;
  });
  window.addEventListener("afterprint", function () { for (const details of folded) details.open = false; });
})();
