// Light or dark: the system's choice, unless the visitor made one. A classic script in the head, so that
// the choice is known before the first paint.
"use strict";
(() => {
  const key = "heliograph-theme";
  const root = document.documentElement;
  const stored = () => {
    try { return localStorage.getItem(key); } catch { return null; } // storage may be forbidden
  };
  const chosen = stored();
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;

  addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
      const next = (root.dataset.theme ?? system) === "dark" ? "light" : "dark";
      if (next === system) delete root.dataset.theme;
      else root.dataset.theme = next;
      try {
        if (next === system) localStorage.removeItem(key);
        else localStorage.setItem(key, next);
      } catch { /* the choice then lasts as long as the page */ }
    });
  });
})();
