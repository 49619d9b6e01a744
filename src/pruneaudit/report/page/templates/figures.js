// Unpacks plotly, then draws the figures from the JSON beside them; text and axes follow light and dark mode.
(() => {
  const PAPER_PIXELS = 680;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const plots = [...document.querySelectorAll("[data-figure]")];
  const choosers = [...document.querySelectorAll("[data-choose]")];
  const config = { responsive: true, displayModeBar: false };
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
  const each = (change) => plots.forEach((plot) => Plotly.relayout(plot, change));
  const read = (id) => JSON.parse(document.getElementById(id).textContent);

  const draw = async (plot, id) => {
    const { data, layout } = read(id);
    await Plotly.react(plot, data, layout, config);
    await Plotly.relayout(plot, colours(dark.matches));
  };

  // The script runs only because the page's policy names its hash.
  const unpack = async () => {
    const packed = atob(document.getElementById("plotly").textContent.trim());
    const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  };

  const start = async () => {
    if (!window.DecompressionStream) {
      plots.forEach((plot) => plot.append("This browser is too old to draw this figure. Its numbers are in the tables."));
      return;
    }
    await unpack();
    await Promise.all(plots.map((plot) => draw(plot, plot.dataset.figure)));
    choosers.forEach((chooser) => {
      const plot = plots.find((candidate) => candidate.dataset.figure === chooser.dataset.choose);
      chooser.closest("label").hidden = false;
      chooser.addEventListener("change", () => draw(plot, chooser.value));
    });
    dark.addEventListener("change", (event) => each(colours(event.matches)));
    window.addEventListener("beforeprint", () => each({ ...colours(false), width: PAPER_PIXELS }));
    window.addEventListener("afterprint", () => each({ ...colours(dark.matches), width: null, autosize: true }));
    document.documentElement.dataset.figures = "drawn";
  };
  start();
})();
