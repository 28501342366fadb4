// The page's time, under the environment's control: timers, animation frames, Date and performance.now run on a virtual
// clock that moves only when `__agentgym.clock.advance` says so. Installed before any script of the page, in every
// frame. Also: seeded Math.random, CSS transitions and animations that end at once, and the bookkeeping (listeners,
// closed shadow roots, requests in flight, navigations) that the walker and the settling need.
(() => {
  if (window.__agentgym) return;
  const EPOCH = 1704110400000; // 2024-01-01 12:00 UTC
  const FRAME = 16;
  const RealDate = Date;
  const later = window.setTimeout.bind(window);
  const realFrame = window.requestAnimationFrame.bind(window);
  const realNow = performance.now.bind(performance);
  let now = 0, next = 1, order = 0;
  let timers = new Map();

  const add = (callback, delay, args, every) => {
    const wait = Math.max(Number(delay) || 0, every ? 1 : 0);
    const id = next++;
    timers.set(id, { callback, args, due: now + wait, order: order++, every: every ? wait : 0, frame: false });
    return id;
  };
  window.setTimeout = function setTimeout(callback, delay, ...args) { return add(callback, delay, args, false); };
  window.setInterval = function setInterval(callback, delay, ...args) { return add(callback, delay, args, true); };
  window.clearTimeout = window.clearInterval = function clearTimeout(id) { timers.delete(Number(id)); };
  window.requestAnimationFrame = function requestAnimationFrame(callback) {
    const id = next++;
    timers.set(id, { callback, args: [], due: (Math.floor(now / FRAME) + 1) * FRAME, order: order++, every: 0, frame: true });
    return id;
  };
  window.cancelAnimationFrame = function cancelAnimationFrame(id) { timers.delete(Number(id)); };
  window.requestIdleCallback = function requestIdleCallback(callback) {
    return add(() => callback({ didTimeout: false, timeRemaining: () => 10 }), 1, [], false);
  };
  window.cancelIdleCallback = window.clearTimeout;
  performance.now = () => now;
  class VirtualDate extends RealDate {
    constructor(...args) { if (args.length === 0) super(EPOCH + now); else super(...args); }
    static now() { return EPOCH + now; }
  }
  window.Date = new Proxy(VirtualDate, { apply: () => new VirtualDate().toString() });

  // Timers that are due within `ms`, in order; stops after `most` callbacks or `patience` real milliseconds.
  const advance = async (ms, most = 20000, patience = 2000) => {
    const until = now + ms, started = realNow();
    for (let count = 0; ; count++) {
      let first = null, key = 0;
      for (const [id, timer] of timers)
        if (timer.due <= until && (first === null || timer.due < first.due || (timer.due === first.due && timer.order < first.order)))
          first = timer, key = id;
      if (first === null) break;
      if (count >= most || realNow() - started > patience) return false;
      now = Math.max(now, first.due);
      if (first.every) { first.due = now + first.every; first.order = order++; } else timers.delete(key);
      try {
        if (typeof first.callback === "function") first.callback.apply(window, first.frame ? [now] : first.args);
        else (0, eval)(String(first.callback));
      } catch (error) { console.error(error); }
      await null; // promises go on between timers, as they would
    }
    now = until;
    return true;
  };

  // A small generator (mulberry32) in place of Math.random, so that what a page draws while loading repeats.
  let seed = 0x9e3779b9;
  Math.random = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };

  const listening = new WeakMap();
  const POINTER = new Set(["click", "mousedown", "mouseup", "pointerdown", "pointerup", "dblclick", "touchstart", "change", "input"]);
  const FRAMED = new Set(["scroll", "scrollend", "animationstart", "animationend", "animationiteration"]);
  const listen = EventTarget.prototype.addEventListener;
  EventTarget.prototype.addEventListener = function addEventListener(type, ...rest) {
    if (POINTER.has(type) && this instanceof Node) listening.set(this, true);
    if (FRAMED.has(type)) status.framed = true;
    return listen.call(this, type, ...rest);
  };
  const roots = new WeakMap();
  const attach = Element.prototype.attachShadow;
  Element.prototype.attachShadow = function attachShadow(init) {
    const root = attach.call(this, init);
    roots.set(this, root);
    return root;
  };

  // frames: observers that report in frames; framed: listeners for what is told in frames.
  const status = { requests: 0, navigating: false, closing: false, frames: false, framed: false, reopened: false };
  const close = window.close.bind(window);
  window.close = function () { status.closing = true; close(); };
  // A script that opens a loaded document again need never close it: then "loading" says nothing, and no load will come.
  for (const name of ["open", "write", "writeln"]) {
    const real = Document.prototype[name];
    Document.prototype[name] = function (...args) {
      if (this === document && document.readyState === "complete" && args.length < 3) status.reopened = true;
      return real.apply(this, args);
    };
  }
  const fetchReal = window.fetch;
  window.fetch = function fetch(...args) {
    status.requests++;
    return fetchReal.apply(this, args).finally(() => { status.requests--; });
  };
  for (const name of ["json", "text", "arrayBuffer", "blob", "formData"]) { // a body is still coming when fetch resolves
    const read = Response.prototype[name];
    Response.prototype[name] = function (...args) {
      status.requests++;
      return read.apply(this, args).finally(() => { status.requests--; });
    };
  }
  const send = XMLHttpRequest.prototype.send;
  XMLHttpRequest.prototype.send = function (...args) {
    status.requests++;
    listen.call(this, "loadend", () => { status.requests--; }, { once: true });
    try { return send.apply(this, args); } catch (error) { status.requests--; throw error; }
  };
  // Pictures that scripts ask for, wherever they stand: settling waits for them too.
  const pictures = new Set();
  const source = Object.getOwnPropertyDescriptor(HTMLImageElement.prototype, "src");
  Object.defineProperty(HTMLImageElement.prototype, "src", {
    ...source, set(value) { pictures.add(this); source.set.call(this, value); },
  });
  for (const name of ["IntersectionObserver", "ResizeObserver"]) {
    const Real = window[name];
    if (Real) window[name] = class extends Real { constructor(...args) { super(...args); status.frames = true; } };
  }
  if (window.navigation) {
    listen.call(window.navigation, "navigate", (event) => {
      const leaving = !event.hashChange && !event.destination.sameDocument && event.downloadRequest === null;
      if (leaving && !event.defaultPrevented && event.navigationType !== undefined) status.navigating = true;
    });
    listen.call(window.navigation, "navigateerror", () => { status.navigating = false; });
  }

  const still = new CSSStyleSheet();
  still.replaceSync("*,*::before,*::after{transition-duration:0s!important;transition-delay:0s!important;" +
    "animation-duration:0s!important;animation-delay:0s!important;animation-iteration-count:1!important;" +
    "caret-color:transparent!important;scroll-behavior:auto!important}");
  try { document.adoptedStyleSheets = [still]; } catch (error) { console.error(error); }

  const clock = {
    advance,
    get now() { return now; },
    reset() { now = 0; next = 1; order = 0; timers = new Map(); },
    turn: () => new Promise((done) => later(done, 0)),
    wait: (ms) => new Promise((done) => later(done, ms)), // real time: a cap on what may never come
    frame: () => new Promise((done) => realFrame(done)),
    real: realNow,
  };
  const tools = { clock, status, listening, roots, pictures };
  Object.defineProperty(window, "__agentgym", { value: tools, enumerable: false, writable: false, configurable: false });
})();
