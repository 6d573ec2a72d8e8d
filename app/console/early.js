// Before the first paint: the colours and the language chosen last time.
(() => {
  let theme = null;
  let language = null;
  try {
    theme = localStorage.getItem("theme");
    language = localStorage.getItem("language");
  } catch {
    // A browser that keeps nothing has the defaults.
  }
  const page = document.documentElement;
  if (theme === "light" || theme === "dark") page.dataset.theme = theme;
  const chinese = language ? language === "zh" : (navigator.language || "").startsWith("zh");
  page.lang = chinese ? "zh-CN" : "en";
})();
