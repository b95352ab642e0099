// The timelines of a replay's report: hovering tells values, clicking moves the video. Needs no other file.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("replay-data").textContent);
  const root = document.getElementById("timeline"), readout = document.getElementById("readout");
  const videos = [...document.querySelectorAll("video")], bins = data.frames.length;
  const GATE = ["sent as asked", "limited", "held"];
  const PICTURE = ["like training's", "would hold", "would latch"];
  const HEIGHT = 46, STRIP = 16;
  const rows = [];          // of the timeline: its plot, and what it tells at a bin
  let current = 0, hovered = null;        // ticks

  function make(kind, className, parent, text) {
    const element = document.createElement(kind);
    element.className = className;
    if (text !== undefined) element.textContent = text;
    if (parent) parent.append(element);
    return element;
  }

  function draw(svg, kind, className, attributes) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
    element.setAttribute("class", className);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    svg.append(element);
  }

  function row(name, unit, height, tell) {
    const line = make("div", height === STRIP ? "row strip-row" : "row", root);
    const label = make("div", "name", line, name);
    if (unit) make("small", "", label, unit);
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${bins} ${height}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    line.append(svg);
    rows.push({ svg, value: make("div", "value", line), tell });
    return svg;
  }

  function level(channel, value) {
    return HEIGHT - 2 - (HEIGHT - 4) * (value - channel.low) / (channel.high - channel.low);
  }

  // Runs of bins in which a channel has a value: [[first, last], ...]
  function runs(values) {
    const found = [];
    values.forEach((value, at) => {
      if (value === null) return;
      if (found.length && found[found.length - 1][1] === at - 1) found[found.length - 1][1] = at;
      else found.push([at, at]);
    });
    return found;
  }

  function curve(channel) {
    const told = (at) => channel.series.map((one) =>
      one.mean[at] === null ? "-" : `${one.mean[at].toFixed(channel.digits)} ${channel.unit}`);
    const range = channel.unit ? `${channel.unit}, ${channel.low} to ${channel.high}` : "";
    const svg = row(channel.name, range, HEIGHT, told);
    if (channel.low < 0) draw(svg, "line", "zero", { x1: 0, x2: bins, y1: level(channel, 0), y2: level(channel, 0) });
    if (channel.limit !== null) {
      const y = level(channel, channel.limit);
      draw(svg, "line", "limit", { x1: 0, x2: bins, y1: y, y2: y });
    }
    channel.series.forEach((one, number) => {
      for (const [first, last] of runs(one.mean)) {
        const at = Array.from({ length: last - first + 1 }, (_, k) => first + k);
        const over = at.map((k) => `${k + .5},${level(channel, one.high[k])}`);
        const under = at.map((k) => `${k + .5},${level(channel, one.low[k])}`).reverse();
        draw(svg, "polygon", `band s${number}`, { points: [...over, ...under].join(" ") });
        const line = at.map((k) => `${k + .5},${level(channel, one.mean[k])}`);
        if (at.length === 1) line.unshift(`${first},${level(channel, one.mean[first])}`);
        draw(svg, "polyline", `mean s${number}`, { points: line.join(" ") });
      }
    });
  }

  // A strip's height tells the level, too, so that nobody needs to see its colour.
  function strip(name, levels, words) {
    const svg = row(name, "", STRIP, (at) => [words[levels[at]]]);
    for (let first = 0, at = 1; at <= bins; at += 1) {
      if (at < bins && levels[at] === levels[first]) continue;
      const height = STRIP * [.34, .67, 1][levels[first]];
      draw(svg, "rect", `g${levels[first]}`, { x: first, width: at - first, y: STRIP - height, height });
      first = at;
    }
  }

  data.policies.forEach((policy) => strip(`gate${policy.label}`, policy.gate, GATE));
  const alike = data.policies.every((policy) => String(policy.picture) === String(data.policies[0].picture));
  for (const policy of alike ? data.policies.slice(0, 1) : data.policies)
    strip(`pictures${alike ? "" : policy.label}`, policy.picture, PICTURE);
  data.channels.forEach(curve);
  const axis = make("div", "row", root);
  make("div", "name", axis);
  const labels = make("div", "axis", axis);
  const count = Math.min(7, bins);
  const clock = (seconds) => {
    const minutes = Math.floor(seconds / 60), rest = seconds - 60 * minutes;
    return minutes ? `${minutes}:${rest.toFixed(bins < data.ticks ? 0 : 1).padStart(bins < data.ticks ? 2 : 4, "0")}` :
      `${rest.toFixed(1)} s`;
  };
  const timeOf = (tick) => data.start + tick / data.rate;
  for (let k = 0; k < count; k += 1) make("span", "", labels, clock(timeOf(data.ticks * k / Math.max(1, count - 1))));
  const playhead = make("div", "mark playhead", root), cursor = make("div", "mark cursor", root);
  cursor.hidden = true;

  const binOf = (tick) => Math.min(bins - 1, Math.floor(tick * bins / data.ticks));

  function place(mark, tick) {
    const plot = rows[0].svg.getBoundingClientRect(), box = root.getBoundingClientRect();
    mark.style.left = `${plot.left - box.left - root.clientLeft + plot.width * (tick + .5) / data.ticks}px`;
  }

  function tell(tick) {
    const at = binOf(tick);
    for (const { value, tell: told } of rows) value.replaceChildren(...told(at).map((text) => make("b", "", null, text)));
    const policy = data.policies[0], word = GATE[policy.gate[at]];
    const why = data.words[policy.words[at]], picture = data.words[policy.remarks[at]];
    const said = [why && `gate: ${why}`, picture && `picture: ${picture}`].filter(Boolean).join(" \u00b7 ");
    readout.replaceChildren(make("span", "word", null, clock(timeOf(tick))),
      ` frame ${data.frames[at]} \u00b7 ${word}${said ? ` \u00b7 ${said}` : ""}`);
    root.setAttribute("aria-valuenow", timeOf(tick).toFixed(2));
    root.setAttribute("aria-valuetext", readout.textContent);
  }

  function update() {
    place(playhead, current);
    cursor.hidden = hovered === null;
    if (hovered !== null) place(cursor, hovered);
    tell(hovered === null ? current : hovered);
  }

  function seek(tick) {
    current = Math.max(0, Math.min(data.ticks - 1, tick));
    for (const video of videos) video.currentTime = (current + .5) / data.rate;
    update();
  }

  function under(event) {
    const plot = rows[0].svg.getBoundingClientRect();
    const share = (event.clientX - plot.left) / plot.width;
    return Math.max(0, Math.min(data.ticks - 1, Math.floor(share * data.ticks)));
  }

  root.addEventListener("pointermove", (event) => {
    hovered = under(event);
    if (event.buttons & 1) seek(hovered); else update();
  });
  root.addEventListener("pointerdown", (event) => { if (event.button === 0) seek(under(event)); });
  root.addEventListener("pointerleave", () => { hovered = null; update(); });
  root.addEventListener("keydown", (event) => {
    const step = Math.max(1, Math.round(data.ticks / bins));
    const moves = { ArrowRight: step, ArrowLeft: -step, PageUp: 20 * step, PageDown: -20 * step,
      Home: -data.ticks, End: data.ticks };
    if (event.key === " " && videos.length) videos[0].paused ? videos[0].play() : videos[0].pause();
    else if (event.key in moves) seek(current + moves[event.key]);
    else return;
    event.preventDefault();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-tick]");
    if (!button) return;
    seek(Number(button.dataset.tick));
    (videos[0] || root).scrollIntoView({ block: "nearest", behavior: "smooth" });
  });
  window.addEventListener("resize", update);

  // The first video leads; a second one follows.
  if (videos.length) {
    const [lead, ...others] = videos;
    const follow = () => {
      current = Math.max(0, Math.min(data.ticks - 1, Math.floor(lead.currentTime * data.rate)));
      for (const video of others) if (Math.abs(video.currentTime - lead.currentTime) > .1) video.currentTime = lead.currentTime;
      update();
    };
    const run = () => { follow(); if (!lead.paused && !lead.ended) requestAnimationFrame(run); };
    lead.addEventListener("play", () => { others.forEach((video) => video.play()); run(); });
    lead.addEventListener("pause", () => others.forEach((video) => video.pause()));
    lead.addEventListener("ratechange", () => others.forEach((video) => { video.playbackRate = lead.playbackRate; }));
    lead.addEventListener("timeupdate", follow);
  }
  update();
})();
