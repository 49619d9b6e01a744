// Draws the figures from the JSON beside them; text and axes follow the page's light or dark mode.
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const plots = [...document.querySelectorAll("[data-figure]")];
  const colours = (isDark) => {
    const text = isDark ? "#e4e8ec" : "#1b1f24";
    const grid = isDark ? "#39424d" : "#d0d7de";
    return {
      "font.color": text,
      "xaxis.gridcolor": grid,
      "yaxis.gridcolor": grid,
      "hoverlabel.bgcolor": isDark ? "#1d232a" : "#ffffff",
      "hoverlabel.font.color": text,
    };
  };
  const recolour = (isDark) => plots.forEach((plot) => Plotly.relayout(plot, colours(isDark)));
  const config = { responsive: true, displayModeBar: false };
  plots.forEach((plot) => {
    const { data, layout } = JSON.parse(document.getElementById(plot.dataset.figure).textContent);
    Plotly.newPlot(plot, data, layout, config);
  });
  recolour(dark.matches);
  dark.addEventListener("change", (event) => recolour(event.matches));
  window.addEventListener("beforeprint", () => recolour(false));
  window.addEventListener("afterprint", () => recolour(dark.matches));
})();
