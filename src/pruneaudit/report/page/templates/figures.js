// Unpacks Vega, then draws the figures from the JSON beside them. The style sheet gives them the colours of the page.
(() => {
  const plots = [...document.querySelectorAll("[data-figure]")];
  const choosers = [...document.querySelectorAll("[data-choose]")];
  // ast: expressions are walked, not compiled; the page's policy forbids to compile a text.
  const options = { mode: "vega-lite", ast: true, actions: false, renderer: "svg", defaultStyle: false, tooltip: { disableDefaultStyle: true } };
  const PAPER_PIXELS = 680;
  const drawn = new Map();

  const draw = async (plot, id) => {
    drawn.get(plot)?.shown.finalize();
    const canvas = document.createElement("div");
    plot.replaceChildren(canvas);
    const spec = JSON.parse(document.getElementById(id).textContent);
    drawn.set(plot, { id, width: plot.clientWidth, shown: await window.pruneaudit.vegaEmbed(canvas, spec, options) });
  };

  // Legends have as many columns as fit: in a window of another width they are laid out anew.
  let waiting;
  const redraw = () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      for (const [plot, { id, width }] of [...drawn]) if (plot.clientWidth !== width) await draw(plot, id);
    }, 200);
  };
  const printed = (width) => drawn.forEach(({ shown }, plot) => shown.view.width(width || plot.clientWidth).run());

  // The script runs only because the page's policy names its hash.
  const unpack = async () => {
    const packed = atob(document.getElementById("vega").textContent.trim());
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
    for (const plot of plots) await draw(plot, plot.dataset.figure);
    choosers.forEach((chooser) => {
      const plot = plots.find((candidate) => candidate.dataset.figure === chooser.dataset.choose);
      chooser.closest("label").hidden = false;
      chooser.addEventListener("change", () => draw(plot, chooser.value));
    });
    window.addEventListener("resize", redraw);
    window.addEventListener("beforeprint", () => printed(PAPER_PIXELS));
    window.addEventListener("afterprint", () => printed(0));
    document.documentElement.dataset.figures = "drawn";
  };
  start();
})();
