// The theme: the system's, unless a person has chosen. It is no module, so that
// the choice holds before anything is painted.
(() => {
  const key = "smtplb-theme";
  const themes = ["system", "light", "dark"];
  let theme = "system";
  try {
    theme = localStorage.getItem(key) || theme;
  } catch { /* the browser keeps nothing: the system's it is */ }

  function apply() {
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    const button = document.getElementById("theme-button");
    if (button) button.textContent = `Theme: ${theme}`;
    document.dispatchEvent(new Event("themechange"));
  }

  apply();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme-button").addEventListener("click", () => {
      theme = themes[(themes.indexOf(theme) + 1) % themes.length];
      try {
        localStorage.setItem(key, theme);
      } catch { /* it holds for this page, then */ }
      apply();
    });
  });
})();
