
(() => {
  "use strict";
  const root = document.documentElement;
  const make = (tag, attributes = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), attributes);
    element.append(...children);
    return element;
  };

  // -- light and dark

  const system = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const remember = (theme) => {
    try { localStorage.setItem("ntkode-theme", theme); } catch { /* browsers may deny storage to files */ }
  };
  const recall = () => {
    try { return localStorage.getItem("ntkode-theme"); } catch { return null; }
  };
  const tell = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  if (["light", "dark"].includes(recall())) root.dataset.theme = recall();
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remember(root.dataset.theme);
    tell();
  });
  system.addEventListener("change", tell);
  tell();

  // -- tables

  const keyOf = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.key ?? cell.textContent.trim();
  };
  const sortBy = (table, column, down) => {
    const number = table.tHead.rows[0].cells[column].classList.contains("number");
    const keyed = [...table.tBodies[0].rows].map((row) => {
      const key = keyOf(row, column);
      return [row, number ? parseFloat(key) : key];
    });
    const missing = ([, key]) => key === "" || Number.isNaN(key);
    keyed.sort((a, b) => {
      if (missing(a) || missing(b)) return missing(a) - missing(b); // missing values last, in both orders
      const order = number ? a[1] - b[1] : a[1].localeCompare(b[1], "en", { numeric: true });
      return down ? -order : order;
    });
    table.tBodies[0].append(...keyed.map(([row]) => row));
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      // No <button>: Chromium leaves it empty where a printed table repeats its head.
      const press = make("span", { role: "button", tabIndex: 0, textContent: head.textContent, title: "sort" });
      head.replaceChildren(press);
      press.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        press.click();
      });
      press.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        sortBy(table, column, down);
      });
    });
  }

  const filters = document.getElementById("verdict-filters");
  if (filters) {
    filters.hidden = false;
    filters.addEventListener("change", () => {
      const checked = new Set([...filters.querySelectorAll("input:checked")].map((input) => input.value));
      for (const body of document.querySelectorAll("#all-claims tbody")) {
        const rows = [...body.querySelectorAll("tr:not(.of)")];
        rows.forEach((row) => { row.hidden = !checked.has(row.className); });
        body.hidden = rows.every((row) => row.hidden);
      }
    });
  }

  // A link into a folded table unfolds the table. Folded tables are not printed.
  const unfold = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    let unfolded = false;
    for (let at = target && target.parentElement; at; at = at.parentElement) {
      if (at.tagName === "DETAILS" && !at.open) at.open = unfolded = true;
    }
    if (unfolded) target.scrollIntoView({ block: "center" });
  };
  addEventListener("hashchange", unfold);

  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  const spy = new IntersectionObserver((entries) => {
    for (const entry of entries) links.get(entry.target.id)?.classList.toggle("here", entry.isIntersecting);
  }, { rootMargin: "-10% 0px -80% 0px" });
  document.querySelectorAll("main > section").forEach((section) => spy.observe(section));

  // -- curves, in the colours of the figures; the dark style sheet inverts both alike.

  const INK = "#3c444c", GRID = "#e6e8ea";
  const FONT = "11px system-ui, sans-serif";
  const digits = (value) => Number(value.toPrecision(3)).toString();
  const short = (value) => {
    if (value === 0) return "0";
    if (Math.abs(value) >= 1e-3 && Math.abs(value) < 1e4) return digits(value);
    return Number(value.toPrecision(2)).toExponential().replace("e+", "e");
  };

  // Ticks at 1, 2, 5 (or finer) within two decades, at powers of ten beyond.
  const logTicks = (low, high) => {
    const decades = Math.log10(high / low);
    const subs = decades > 2.2 ? [1] : decades > 0.9 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 6, 8];
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      for (const sub of subs) {
        const tick = Number(`${sub}e${power}`);
        if (tick >= low && tick <= high) ticks.push(tick);
      }
    }
    if (ticks.length < 2) return Array.from({ length: 4 }, (_, k) => low * (high / low) ** ((k + 0.5) / 4));
    const every = Math.ceil(ticks.length / 7);
    return ticks.filter((_, k) => k % every === 0);
  };

  const tip = document.getElementById("tip");
  const showTip = (chart, plot, index) => {
    const { left, top, idx } = plot.cursor;
    const series = chart.series[index - 1];
    const value = plot.data[index]?.[idx];
    if (!series || value == null || left < 0) { tip.hidden = true; return; }
    const step = plot.data[0][idx];
    const run = series.run;
    const noise = series.noise.includes(series.x.indexOf(step));
    tip.replaceChildren(
      make("strong", { textContent: chart.label(run) + (series.dashed ? " (predicted)" : "") }), make("br"),
      `step ${step}: ${noise ? "at most " : ""}${short(value)}${noise ? ", its resolution" : ""}`,
      make("small", { textContent: chart.runs[run] }),
    );
    tip.hidden = false;
    const box = plot.over.getBoundingClientRect();
    const x = box.left + left, y = box.top + top;
    tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${y + tip.offsetHeight + 24 > innerHeight ? y - tip.offsetHeight - 12 : y + 14}px`;
  };

  const draw = (data, panel, holder, key) => {
    const label = (run) => data.factors.map((f) => f.values[f.of[run]]).join(", ") || data.runs[run];
    const chart = { series: panel.series, runs: data.runs, label };
    const aligned = uPlot.join(panel.series.map((s) => [s.x, s.y]));
    const range = (plot, low, high) => {
      if (low == null || high == null) return panel.logarithmic ? [0.1, 1] : [0, 1];
      if (panel.logarithmic) { const room = Math.max(1.1, (high / low) ** 0.06); return [low / room, high * room]; }
      const room = 0.06 * (high - low) || Math.abs(high) * 0.1 || 1;
      return [low >= 0 && low < 0.3 * high ? 0 : low - room, high + room];
    };
    const axis = { stroke: INK, font: FONT, grid: { stroke: GRID, width: 1 }, ticks: { show: false } };
    let focused = null;
    const options = {
      width: Math.max(240, holder.clientWidth), height: 230, legend: { show: false },
      focus: { alpha: 0.22 },
      cursor: {
        focus: { prox: 28 }, sync: { key, setSeries: false }, y: false, drag: { x: true, y: false },
        points: { size: 7 },
      },
      scales: { x: { time: false }, y: { distr: panel.logarithmic ? 3 : 1, range } },
      axes: [
        { ...axis, size: 30, values: (plot, ticks) => ticks.map((t) => (Number.isInteger(t) ? String(t) : "")) },
        {
          ...axis, size: 52, values: (plot, ticks) => ticks.map(short),
          ...(panel.logarithmic ? { splits: (plot, k, low, high) => logTicks(low, high), filter: (plot, ticks) => ticks } : {}),
        },
      ],
      series: [{}, ...panel.series.map((s) => ({
        label: label(s.run), stroke: data.colours.of[s.run], spanGaps: true,
        width: s.dashed ? 1 : data.runs.length > 12 ? 1.1 : 1.7, dash: s.dashed ? [5, 4] : undefined,
        points: { show: s.x.length <= 25 && !s.dashed, size: 4, fill: data.colours.of[s.run] },
      }))],
      hooks: {
        setSeries: [(plot, index) => { focused = index; }],
        setCursor: [(plot) => {
          if (!plot.over.matches(":hover")) return;
          if (focused == null || plot.cursor.left < 0) tip.hidden = true; else showTip(chart, plot, focused);
        }],
      },
    };
    const plot = new uPlot(options, aligned, holder);
    let pressed = null;
    plot.over.addEventListener("mousedown", (event) => { pressed = event.clientX; });
    plot.over.addEventListener("click", (event) => {
      if (focused == null || pressed == null || Math.abs(event.clientX - pressed) > 3) return; // a drag zooms
      location.hash = `run-${data.runs[panel.series[focused - 1].run]}`;
    });
    plot.over.addEventListener("mouseleave", () => { tip.hidden = true; });
    new ResizeObserver(() => {
      const width = Math.max(240, holder.clientWidth);
      if (width !== plot.width) plot.setSize({ width, height: 230 });
    }).observe(holder);
    return plot;
  };

  // λ_min with a subscript.
  const formula = (text) => {
    const parts = text.split(/_(\w+)/).map((part, k) => (k % 2 ? make("sub", { textContent: part }) : part));
    return make("span", {}, ...parts);
  };

  // Adds titles, switches and holders of the charts; the returned function draws the charts.
  const explore = (block) => {
    const data = JSON.parse(document.getElementById(block.dataset.curves).textContent);
    const holders = data.panels.map((panel) => {
      const title = make("h4", {}, `${panel.title} `, formula(panel.unit));
      const holder = make("div", { className: "plot" });
      block.querySelector(".charts").append(make("div", { className: "chart" }, title, holder));
      return holder;
    });
    let plots = [];
    const on = data.factors.map((factor) => factor.values.map(() => true));
    let dashes = data.dashes && data.runs.length <= 6;
    const update = () => {
      const visible = data.runs.map((_, run) => data.factors.every((factor, k) => on[k][factor.of[run]]));
      plots.forEach((plot, k) => plot.batch(() => {
        data.panels[k].series.forEach((series, index) => {
          const show = visible[series.run] && (dashes || !series.dashed);
          if (plot.series[index + 1].show !== show) plot.setSeries(index + 1, { show });
        });
      }));
    };
    const check = (text, checked, change, swatch) => {
      const input = make("input", { type: "checkbox", checked });
      input.addEventListener("change", () => { change(input.checked); update(); });
      const mark = swatch ? [make("span", { className: "swatch" })] : [];
      if (swatch) mark[0].style.background = swatch;
      return make("label", {}, input, ...mark, text);
    };
    const switches = block.querySelector(".switches");
    data.factors.forEach((factor, k) => {
      const colourOf = (value) => (k === data.colours.factor ? data.colours.of[factor.of.indexOf(value)] : null);
      const labels = factor.values.map((text, value) => check(text, true, (now) => { on[k][value] = now; }, colourOf(value)));
      switches.append(make("fieldset", {}, make("legend", { textContent: factor.name }), ...labels));
    });
    if (data.dashes) switches.append(check("predicted by the NTK at the start (dashed)", dashes, (now) => { dashes = now; }));
    return () => {
      plots = holders.map((holder, k) => draw(data, data.panels[k], holder, block.dataset.curves));
      update();
    };
  };

  // Charts are slow and are drawn when they scroll into view; their holders exist from the start, so nothing moves.
  const drawings = new Map();
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      drawings.get(entry.target)();
    }
  }, { rootMargin: "800px 0px" });
  for (const block of document.querySelectorAll(".explore")) {
    block.hidden = false;
    drawings.set(block, explore(block));
    seen.observe(block);
  }
  unfold();
})();
