// Sorting, filtering and copying of tables. Without this script they are plain tables with the same contents.
(() => {
  const UNITS = { B: 1, kB: 1e3, MB: 1e6 };
  const NUMBER = /^(?:below )?([+-]?[\d,]*\.?\d+)(%|\s*[kM]?B)?(?=\s|$)/;
  const BARE_NUMBER = /^[+-]?[\d,]*\.?\d+%?$/;
  const LIMITS = /^\[(\S+), (\S+)\]$/;
  const ASIDE = ".interval, .detail, sup";

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const words = (element) => element.textContent.replace(/\s+/g, " ").trim();

  // What a cell holds: its value, the limits of its interval, and what stands beside it in small print.
  const contents = (cell) => {
    const bare = cell.cloneNode(true);
    bare.querySelectorAll(ASIDE).forEach((part) => part.remove());
    const interval = cell.querySelector(".interval");
    const limits = interval && words(interval).match(LIMITS);
    const value = ["–", "n/a"].includes(words(bare)) ? "" : words(bare);
    const aside = [...cell.querySelectorAll(".detail")].map(words);
    if (interval && !limits) aside.push(words(interval));
    return { value, limits: limits ? limits.slice(1) : null, aside: aside.join("; "), shown: value && limits ? `${value} ${words(interval)}` : value };
  };

  const number = (text) => {
    const found = text.match(NUMBER);
    if (!found) return NaN;
    return parseFloat(found[1].replaceAll(",", "")) * (UNITS[(found[2] || "").trim()] || 1);
  };

  const allNumbers = (values) => values.every((value) => !value || !Number.isNaN(number(value)));

  // Rows without a value stand last, whichever way the others go.
  const compare = (keys, areNumbers, sign) => (one, other) => {
    const [a, b] = [keys.get(one), keys.get(other)];
    if (!a || !b) return Number(!a) - Number(!b);
    return sign * (areNumbers ? number(a) - number(b) : a.localeCompare(b, "en", { numeric: true }));
  };

  const makeSortable = (table) => {
    const body = table.tBodies[0];
    const original = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = make("button", { type: "button", className: "sort" }, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: "" }[head.getAttribute("aria-sort")] ?? "ascending";
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        if (next) head.setAttribute("aria-sort", next);
        const keys = new Map(original.map((row) => [row, contents(row.cells[column]).value]));
        const order = compare(keys, allNumbers([...keys.values()]), next === "descending" ? -1 : 1);
        body.append(...(next ? [...original].sort(order) : original));
      });
    });
  };

  const makeFilters = (table, bar, status) => {
    const rows = [...table.tBodies[0].rows];
    const choices = [];
    const search = make("input", { type: "search", autocomplete: "off", spellcheck: false });
    const apply = () => {
      const wanted = search.value.trim().toLowerCase();
      let shown = 0;
      rows.forEach((row) => {
        const fits = choices.every(({ column, select }) => !select.value || contents(row.cells[column]).value === select.value);
        row.hidden = !(fits && words(row).toLowerCase().includes(wanted));
        shown += Number(!row.hidden);
      });
      status.textContent = shown === rows.length ? "" : `${shown} of ${rows.length} rows shown`;
    };
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (!("filter" in head.dataset)) return;
      const values = [...new Set(rows.map((row) => contents(row.cells[column]).value))];
      const select = make("select", {}, make("option", { value: "" }, "all"));
      values.forEach((value) => select.append(make("option", { value, dir: "auto" }, value)));
      select.addEventListener("change", apply);
      choices.push({ column, select });
      bar.append(make("label", {}, `${words(head)} `, select));
    });
    search.addEventListener("input", apply);
    bar.append(make("label", {}, "Find ", search));
  };

  // Header and visible rows, as they stand.
  const rowsOf = (table) => ({
    heads: [...table.tHead.rows[0].cells].map(words),
    rows: [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => [...row.cells].map(contents)),
  });

  // A spreadsheet takes a text that begins like this for a formula.
  const disarmed = (text) => (/^[=+\-@\t]/.test(text) && !BARE_NUMBER.test(text) ? `'${text}` : text);
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const plain = (text) => (BARE_NUMBER.test(text) ? text.replaceAll(",", "").replace("%", "") : text);

  // A column of the table as one or more of the file: its values, the limits of intervals, what stands beside.
  const columnsOf = (head, cells) => {
    const areNumbers = allNumbers(cells.map(({ value }) => value));
    const name = areNumbers && cells.some(({ value }) => value.endsWith("%")) ? `${head} (%)` : head;
    const columns = [[name, ...cells.map(({ value }) => (areNumbers ? plain(value) : value))]];
    if (cells.some(({ limits }) => limits)) {
      ["low", "high"].forEach((end, at) => columns.push([`${name}, ${end}`, ...cells.map(({ limits }) => (limits ? plain(limits[at]) : ""))]));
    }
    if (cells.some(({ aside }) => aside)) columns.push([`${head}, detail`, ...cells.map(({ aside }) => aside)]);
    return columns;
  };

  const csv = (table) => {
    const { heads, rows } = rowsOf(table);
    const columns = heads.flatMap((head, at) => columnsOf(head, rows.map((row) => row[at])));
    const lines = [heads, ...rows].map((_, at) => columns.map((column) => quoted(disarmed(column[at]))).join(","));
    return `${lines.join("\n")}\n`;
  };

  const ESCAPED = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}", "–": "--" };
  const escaped = (text) => text.replace(/[\\~^<>–{}$&#_%]/g, (letter) => ESCAPED[letter] ?? `\\${letter}`);

  const latex = (table) => {
    const { heads, rows } = rowsOf(table);
    const line = (texts) => `${texts.map(escaped).join(" & ")} \\\\\n`;
    const kinds = heads.map((_, at) => (allNumbers(rows.map((row) => row[at].value)) ? "r" : "l"));
    const body = rows.map((row) => line(row.map(({ shown }) => shown || "–"))).join("");
    return `\\begin{tabular}{${kinds.join("")}}\n\\hline\n${line(heads)}\\hline\n${body}\\hline\n\\end{tabular}\n`;
  };

  // A page in a file may have no clipboard: then the text is laid out, selected, to be copied by hand.
  const copy = async (text, bar, status) => {
    bar.parentElement.querySelector("textarea.copied")?.remove();
    try {
      await navigator.clipboard.writeText(text);
      status.textContent = "Copied";
    } catch {
      const area = make("textarea", { className: "copied", readOnly: true, rows: 6, value: text });
      area.setAttribute("aria-label", "Text to copy");
      bar.after(area);
      area.focus();
      area.select();
      status.textContent = "Selected below: copy it with Ctrl+C or Cmd+C";
    }
  };

  document.querySelectorAll("table[data-tools]").forEach((table) => {
    const region = table.closest(".scroll");
    const status = make("span", { className: "status" });
    status.setAttribute("role", "status");
    const bar = make("div", { className: "tools" });
    bar.setAttribute("role", "group");
    bar.setAttribute("aria-label", `Tools of the table: ${words(table.caption.querySelector("strong"))}`);
    makeSortable(table);
    if (table.dataset.tools.includes("filter")) makeFilters(table, bar, status);
    [["CSV", csv], ["LaTeX", latex]].forEach(([name, written]) => {
      const button = make("button", { type: "button" }, `Copy as ${name}`);
      button.addEventListener("click", () => copy(written(table), bar, status));
      bar.append(button);
    });
    bar.append(status);
    const holder = make("div", { className: "with-tools" });
    region.before(holder);
    holder.append(bar, region);
  });
})();
