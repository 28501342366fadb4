// Looks at the page and aims at its elements: one walk gives every visible element as a row, with an id that stays with
// the element while the page lives. Defined in top windows only; same-origin frames and shadow roots are walked from there.
(() => {
  const tools = window.__agentgym;
  if (!tools || tools.look || window.top !== window) return;
  const { clock, status } = tools;

  let numbers = new WeakMap(), elements = new Map(), last = 0;
  const skipped = new Set(); // ids of elements that are no part of the page for the agent
  const numberOf = (el) => {
    let n = numbers.get(el);
    if (n === undefined) { n = ++last; numbers.set(el, n); elements.set(n, new WeakRef(el)); }
    return n;
  };
  const toolsOf = (el) => (el.ownerDocument.defaultView || window).__agentgym || tools;
  const rootOf = (el) => el.shadowRoot || toolsOf(el).roots.get(el) || null;
  const tidy = (text) => text.replace(/\s+/g, " ").trim();
  const frameDocument = (el) => { try { return el.contentDocument; } catch (error) { return null; } };

  // ------------------------------------------------------------------ what an element is

  const CLICKABLE = 1, DISABLED = 2, CHECKED = 4, FOCUSED = 8, AWAY = 16, EDITABLE = 32, SELECTED = 64, EXPANDED = 128,
    REQUIRED = 256, SECRET = 512, READONLY = 1024;
  const NEVER = new Set(["SCRIPT", "STYLE", "TEMPLATE", "NOSCRIPT", "HEAD", "META", "LINK", "TITLE", "BR", "DEFS"]);
  const SHAPES = new Set(["circle", "rect", "ellipse", "path", "polygon", "line", "polyline", "text", "image", "use"]);
  const GEOMETRY = ["cx", "cy", "r", "x", "y", "width", "height", "x1", "y1", "x2", "y2", "points", "d", "transform", "fill", "rx", "ry", "font-size"];
  const ROLES = { A: "link", BUTTON: "button", SELECT: "combobox", TEXTAREA: "textbox", OPTION: "option", SUMMARY: "button",
    IMG: "image", CANVAS: "canvas", H1: "heading", H2: "heading", H3: "heading", H4: "heading", H5: "heading", H6: "heading",
    TD: "cell", TH: "columnheader", LI: "listitem", LABEL: "label", IFRAME: "frame", FIELDSET: "group", DIALOG: "dialog", VIDEO: "video" };
  const INPUTS = { checkbox: "checkbox", radio: "radio", button: "button", submit: "button", reset: "button", image: "button",
    range: "slider", number: "spinbutton", search: "searchbox", file: "file" };
  const TEXTUAL = new Set(["text", "password", "email", "search", "tel", "url", "number", ""]);
  const SET = new Set(["date", "time", "datetime-local", "month", "week", "range", "color"]);
  const WHOLE = new Set(["button", "link", "option", "tab", "menuitem", "heading", "label"]);

  const roleOf = (el) => {
    const given = el.getAttribute("role");
    if (given && given !== "presentation" && given !== "none") return given;
    if (el.tagName === "INPUT") return INPUTS[el.type] || "textbox";
    if (el.tagName === "A" && !el.hasAttribute("href")) return "";
    if (SHAPES.has(el.tagName)) return el.tagName;
    return ROLES[el.tagName] || (el.isContentEditable && !(el.parentElement && el.parentElement.isContentEditable) ? "textbox" : "");
  };
  const isDisabled = (el) => el.disabled === true || el.getAttribute("aria-disabled") === "true" || el.matches("fieldset:disabled *");
  const reachable = (el) => el.hasAttribute("tabindex") && el.tabIndex >= 0; // by the Tab key: something to operate
  const listens = (el) => toolsOf(el).listening.has(el) || Boolean(el.onclick || el.onmousedown || el.onpointerdown) || reachable(el);
  const isEditable = (el) => el.tagName === "TEXTAREA" || el.isContentEditable || (el.tagName === "INPUT" && (TEXTUAL.has(el.type) || SET.has(el.type)));
  const labelled = (el) => {
    const direct = el.getAttribute("aria-label");
    if (direct) return direct;
    const by = el.getAttribute("aria-labelledby");
    if (by) return by.split(/\s+/).map((id) => (el.getRootNode().getElementById(id) || {}).textContent || "").join(" ");
    if (el.labels && el.labels.length) return [...el.labels].map((l) => l.textContent).join(" ");
    return el.alt || el.title || el.placeholder || "";
  };

  // ------------------------------------------------------------------ the walk

  let near = []; // controls of the last look that lie in the view with all of their box
  const look = () => {
    const rows = [], focused = deepestFocus();
    let focus = 0;
    near = [];

    const row = (el, depth, role, name, style, rect, away, inside, parentPointer) => {
      let flags = 0, value = "";
      const tag = el.tagName.toLowerCase();
      const hot = listens(el) || (style.cursor === "pointer" && !parentPointer);
      if (hot || ["button", "link", "checkbox", "radio", "tab", "menuitem", "option"].includes(role)) flags |= CLICKABLE;
      if (isDisabled(el)) flags |= DISABLED;
      if (el.checked === true || el.getAttribute("aria-checked") === "true") flags |= CHECKED;
      if (el.getAttribute("aria-selected") === "true") flags |= SELECTED;
      if (el.getAttribute("aria-expanded") === "true" || el.open === true) flags |= EXPANDED;
      if (el.required === true) flags |= REQUIRED;
      if (el.readOnly === true && isEditable(el)) flags |= READONLY;
      if (away) flags |= AWAY;
      let options = 0;
      if (tag === "select") {
        options = [...el.options].map((o) => tidy(o.label || o.textContent));
        value = [...el.selectedOptions].map((o) => tidy(o.label || o.textContent)).join(", ");
      } else if (tag === "input") {
        if (!["checkbox", "radio", "button", "submit", "reset", "image"].includes(el.type)) value = el.value;
        if (el.type === "password") flags |= SECRET;
      } else if (tag === "textarea") value = el.value;
      else if (role === "textbox" && el.isContentEditable) value = el.textContent;
      if (isEditable(el)) flags |= EDITABLE;
      if (inside && !(flags & DISABLED) && (flags & (CLICKABLE | EDITABLE) || tag === "select")) near.push(el);
      if (el === focused) { flags |= FOCUSED; focus = numberOf(el); }
      let form = el.getAttribute("style") || "";
      if (el instanceof SVGElement || SHAPES.has(tag))
        form = GEOMETRY.map((g) => (el.hasAttribute(g) ? g + "=" + el.getAttribute(g) : "")).filter(Boolean).join(";") + (form ? ";" + form : "");
      if (el.scrollTop || el.scrollLeft) form += ";scroll=" + Math.round(el.scrollLeft) + "," + Math.round(el.scrollTop);
      const kind = tag === "input" ? el.type : "";
      rows.push([numberOf(el), depth, role, tidy(name), flags, value, tag, el.id || "",
        typeof el.className === "string" ? el.className : el.getAttribute("class") || "", form, kind,
        Math.round(rect.x), Math.round(rect.y), Math.round(rect.width), Math.round(rect.height), options]);
    };

    const walk = (el, depth, clip, dx, dy, parentPointer) => {
      if (NEVER.has(el.tagName) || (el.id && skipped.has(el.id))) return;
      const view = el.ownerDocument.defaultView;
      const style = view.getComputedStyle(el);
      if (style.display === "none") return;
      const box = el.getBoundingClientRect();
      const rect = { x: box.x + dx, y: box.y + dy, width: box.width, height: box.height };
      const shown = style.visibility === "visible" && style.display !== "contents" && (rect.width > 0 || rect.height > 0);
      const away = rect.x >= clip[2] || rect.y >= clip[3] || rect.x + rect.width <= clip[0] || rect.y + rect.height <= clip[1];
      const inside = rect.x >= clip[0] && rect.y >= clip[1] && rect.x + rect.width <= clip[2] && rect.y + rect.height <= clip[3];
      const pointer = style.cursor === "pointer";
      const role = roleOf(el);
      const inner = style.overflowX === "visible" && style.overflowY === "visible" ? clip
        : [Math.max(clip[0], rect.x), Math.max(clip[1], rect.y), Math.min(clip[2], rect.x + rect.width), Math.min(clip[3], rect.y + rect.height)];
      const root = rootOf(el);
      const children = root ? [...root.childNodes] : el.tagName === "SLOT" ? el.assignedNodes({ flatten: true }) : [...el.childNodes];
      const nested = children.filter((c) => c.nodeType === 1 && !NEVER.has(c.tagName));
      const add = (name) => row(el, depth, role, name, style, rect, away, inside, parentPointer);

      if (shown && el.tagName === "IFRAME") {
        const inside = frameDocument(el);
        add(labelled(el));
        if (inside && inside.body)
          walk(inside.body, depth + 1, inner, rect.x + el.clientLeft, rect.y + el.clientTop, false);
        return;
      }
      if (shown && (el.tagName === "SELECT" || el.tagName === "TEXTAREA" || el.tagName === "IMG" || el.tagName === "CANVAS")) return add(labelled(el));
      if (shown && el.tagName === "INPUT") return add(labelled(el) || (role === "button" ? el.value : ""));
      if (!nested.length) {
        const text = tidy(children.map((c) => (c.nodeType === 3 ? c.data : "")).join(""));
        const hot = listens(el) || (pointer && !parentPointer);
        if (shown && (text || role || hot)) add(el.getAttribute("aria-label") || text || (role ? labelled(el) : el.title || ""));
        return;
      }
      const whole = shown && (WHOLE.has(role) || role === "textbox") && !el.querySelector("a,button,input,select,textarea,iframe,[onclick],[tabindex]") && !nested.some((c) => hotInside(c));
      if (whole) return add(el.getAttribute("aria-label") || el.innerText || el.textContent || labelled(el));
      const own = shown && (role || listens(el) || (pointer && !parentPointer)) && el !== el.ownerDocument.body;
      if (own) add(el.getAttribute("aria-label") || "");
      for (const child of children) {
        if (child.nodeType === 1) walk(child, depth + (own ? 1 : 0), inner, dx, dy, pointer);
        else if (child.nodeType === 3 && shown) {
          const text = tidy(child.data);
          if (text) rows.push([0, depth + (own ? 1 : 0), "text", text, away ? AWAY : 0, "", "", "", "", "", "", rect.x | 0, rect.y | 0, 0, 0, 0]);
        }
      }
    };
    if (document.body) walk(document.body, 0, [0, 0, innerWidth, innerHeight], 0, 0, false);
    const fields = [];
    for (const el of document.querySelectorAll("input,select,textarea")) {
      if (el.checkVisibility({ visibilityProperty: true })) continue;
      const value = el.type === "checkbox" || el.type === "radio" ? (el.checked !== el.defaultChecked ? String(el.checked) : "")
        : el.tagName === "SELECT" ? [...el.selectedOptions].filter((o) => !o.defaultSelected).map((o) => o.value).join(",")
        : el.value !== el.defaultValue ? el.value : "";
      if (value) fields.push([el.id || el.name || el.tagName, value]);
    }
    return { url: location.href, title: document.title, nodes: rows, fields, focus, scroll: [Math.round(scrollX), Math.round(scrollY)] };
  };
  const hotInside = (el) => listens(el) || [...el.children].some(hotInside);
  const deepestFocus = () => {
    let el = document.activeElement;
    while (el) {
      const root = rootOf(el), inside = el.tagName === "IFRAME" ? frameDocument(el) : null;
      const next = (root && root.activeElement) || (inside && inside.activeElement !== inside.body && inside.activeElement);
      if (!next) return el === document.body ? null : el;
      el = next;
    }
    return null;
  };

  // ------------------------------------------------------------------ aiming

  const offset = (el) => { // of the element's frame in the top window
    let x = 0, y = 0;
    for (let view = el.ownerDocument.defaultView; view && view !== window; view = view.parent) {
      const frame = view.frameElement, box = frame.getBoundingClientRect();
      x += box.x + frame.clientLeft; y += box.y + frame.clientTop;
    }
    return [x, y];
  };
  const under = (x, y) => { // the deepest element that a click at this point of the top window would reach
    let scope = document, hit = null;
    for (;;) {
      const found = scope.elementFromPoint(x, y);
      if (!found || found === hit) return hit;
      hit = found;
      const root = rootOf(hit), inside = hit.tagName === "IFRAME" ? frameDocument(hit) : null;
      if (root && root.elementFromPoint(x, y)) scope = root;
      else if (inside) { const box = hit.getBoundingClientRect(); x -= box.x + hit.clientLeft; y -= box.y + hit.clientTop; scope = inside; hit = null; }
      else return hit;
    }
  };
  const reaches = (el, hit) => {
    for (let at = hit; at; at = at.parentNode || at.host) {
      if (at === el) return true;
      if (at.tagName === "LABEL" && at.control === el) return true;
    }
    return false;
  };
  const describe = (el) => {
    if (!el) return "nothing (it is outside of the view)";
    const number = numbers.get(el), name = tidy(el.textContent || "").slice(0, 40);
    return (number ? "[" + number + "] " : "") + el.tagName.toLowerCase() + (name ? ' "' + name + '"' : "");
  };
  const hit = (el) => {
    const [dx, dy] = offset(el);
    const points = [], boxes = [...el.getClientRects()].filter((b) => b.width > 0 || b.height > 0);
    for (const b of boxes) points.push([b.x + b.width / 2, b.y + b.height / 2]);
    for (const b of boxes.slice(0, 4))
      for (const v of [0.5, 0.15, 0.85]) for (const u of [0.5, 0.15, 0.85, 0.3, 0.7]) points.push([b.x + b.width * u, b.y + b.height * v]);
    if (typeof el.getPointAtLength === "function" && el.getScreenCTM()) {
      const matrix = el.getScreenCTM(), length = el.getTotalLength();
      for (const part of [0.5, 0.25, 0.75]) { const p = el.getPointAtLength(length * part).matrixTransform(matrix); points.push([p.x, p.y]); }
    }
    for (const [px, py] of points) {
      const x = px + dx, y = py + dy;
      if (x < 0 || y < 0 || x >= innerWidth || y >= innerHeight) continue;
      if (reaches(el, under(x, y))) return { x, y };
    }
    const [px, py] = points[0] || [-1, -1];
    return { error: "is covered by " + describe(under(px + dx, py + dy)) };
  };
  // Where a press reaches each control that need not be scrolled to: number -> [x, y]; of a long page's first ones.
  const MOST_POINTS = 64;
  const points = () => {
    const found = {};
    for (const el of near.slice(0, MOST_POINTS)) {
      const at = shownNow(el) ? hit(el) : { error: "" };
      if (!at.error) found[numbers.get(el)] = [at.x, at.y];
    }
    return found;
  };
  const shownNow = (el) => {
    const box = el.getBoundingClientRect();
    return el.ownerDocument.defaultView.getComputedStyle(el).visibility === "visible" && el.getClientRects().length > 0 && (box.width > 0 || box.height > 0);
  };
  const focusable = (el) => el.tabIndex >= 0 && !isDisabled(el);

  const reveal = (el) => { // scrolls the element into view; answers a function that scrolls everything back
    const before = [];
    const scroll = (one) => {
      for (let at = one; at; at = at.parentElement || (at.getRootNode().host ?? null)) before.push([at, at.scrollLeft, at.scrollTop]);
      one.scrollIntoViewIfNeeded(true);
    };
    scroll(el);
    for (let view = el.ownerDocument.defaultView; view && view !== window; view = view.parent) scroll(view.frameElement);
    return () => { for (const [at, left, top] of before) { at.scrollLeft = left; at.scrollTop = top; } };
  };

  const get = (number) => {
    const ref = elements.get(number), el = ref && ref.deref();
    if (!ref) return { error: "there is no element " + number + " on this page" };
    if (!el || !el.isConnected) return { error: "element " + number + " is no longer on the page" };
    if (!shownNow(el)) return { error: "element " + number + " is not visible" };
    return { el };
  };

  // Make an element ready for a verb; answers a point to press at, or {done} where script did all, or {error}.
  const aim = (number, verb, given) => {
    const found = get(number);
    if (found.error) return found;
    const el = found.el, what = "element " + number + " ";
    if (verb !== "hover" && verb !== "scroll" && isDisabled(el)) return { error: what + "is disabled" };
    if (verb === "focus") {
      if (!focusable(el)) return { error: what + "cannot take the focus" };
      el.focus();
      return { done: true };
    }
    if (verb === "fill") {
      if (!isEditable(el)) return { error: what + "is a " + (roleOf(el) || el.tagName.toLowerCase()) + " and cannot be filled" };
      if (el.readOnly) return { error: what + "is read-only" };
      if (el.type === "number" && given.trim() !== "" && isNaN(Number(given))) return { error: what + "takes a number" };
    }
    if (verb === "select" && el.tagName !== "SELECT") return { error: what + "is not a list of options (click it instead)" };
    if ((verb === "check" || verb === "uncheck") && !(el.tagName === "INPUT" && (el.type === "checkbox" || el.type === "radio")))
      return { error: what + "is neither a checkbox nor a radio button" };
    if (verb === "select") {
      const known = (text) => [...el.options].find((o) => o.value === text || tidy(o.label || o.textContent) === tidy(text));
      const missing = given.filter((text) => !known(text));
      if (missing.length) return { error: what + "has no option " + JSON.stringify(missing[0].slice(0, 40)) };
      if (given.some((text) => known(text).disabled)) return { error: "that option is disabled" };
      if (given.length > 1 && !el.multiple) return { error: what + "takes one option" };
      given = given.map(known);
    }
    if (verb === "fill" && SET.has(el.type)) {
      const before = el.value;
      el.value = given;
      const taken = el.value;
      el.value = before;
      if (taken !== given) return { error: what + "takes a " + el.type + " value, not " + JSON.stringify(given.slice(0, 40)) };
    }
    const back = reveal(el);
    const point = hit(el);
    if (point.error) { back(); return { error: what + point.error }; }
    if (verb === "check" || verb === "uncheck") return el.checked === (verb === "check") ? { done: true } : point;
    if (verb === "select") {
      el.focus();
      for (const o of el.options) o.selected = given.includes(o);
      el.dispatchEvent(new Event("input", { bubbles: true, composed: true }));
      el.dispatchEvent(new Event("change", { bubbles: true }));
      return { done: true };
    }
    if (verb === "fill") {
      if (SET.has(el.type)) {
        el.value = given;
        el.dispatchEvent(new Event("input", { bubbles: true, composed: true }));
        el.dispatchEvent(new Event("change", { bubbles: true }));
        return { done: true };
      }
      el.focus();
      if (el.select) el.select();
      else { const range = el.ownerDocument.createRange(); range.selectNodeContents(el); const s = el.ownerDocument.defaultView.getSelection(); s.removeAllRanges(); s.addRange(range); }
      return { type: true };
    }
    return point;
  };

  // What can be done with each visible element: number -> [pointer, kind of value, options or 0, focusable, checkable].
  const applicable = () => {
    const table = {};
    for (const row of look().nodes) {
      if (!row[0]) continue;
      const el = elements.get(row[0]).deref();
      if (!el || !shownNow(el)) continue;
      const enabled = !isDisabled(el), away = (row[4] & AWAY) !== 0;
      const back = away ? reveal(el) : null;
      const reached = !hit(el).error;
      if (back) back();
      const kind = isEditable(el) && !el.readOnly && enabled && reached ? el.type || "text" : "";
      const options = el.tagName === "SELECT" && enabled && reached ? [...el.options].filter((o) => !o.disabled).map((o) => [o.value, tidy(o.label || o.textContent)]) : 0;
      const checkable = enabled && reached && el.tagName === "INPUT" && (el.type === "checkbox" || el.type === "radio");
      table[row[0]] = [reached ? (enabled ? 2 : 1) : 0, kind, options, focusable(el), checkable, el.multiple === true];
    }
    return table;
  };

  // ------------------------------------------------------------------ settling

  let changes = 0;
  new MutationObserver((list) => { changes += list.length; }).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  const frames = () => [...document.querySelectorAll("iframe")].map((f) => { try { return f.contentWindow.__agentgym; } catch (error) { return null; } }).filter(Boolean);

  // Pictures change the layout when they come: those that are shown, and (once) those that style sheets may show later.
  const kept = [];
  const loaded = (image) => new Promise((done) => { for (const end of ["load", "error"]) image.addEventListener(end, done, { once: true }); });
  const pictures = async (cap) => {
    document.body && document.body.offsetHeight; // layout asks for what it needs
    const asked = [tools, ...frames()].flatMap((t) => { const of = [...t.pictures]; t.pictures.clear(); return of; });
    const all = new Set([...document.images, ...asked]);
    const waiting = [...all].filter((i) => !i.complete && i.loading !== "lazy").map(loaded);
    if (!kept.length) {
      kept.push(null);
      const found = new Set();
      for (const sheet of document.styleSheets) {
        let rules = [];
        try { rules = sheet.cssRules; } catch (error) { continue; }
        for (const rule of rules)
          for (const [, , address] of rule.cssText.matchAll(/url\((["']?)([^"')]+)\1\)/g))
            if (!/^(data:|#)/.test(address) && !/font|woff|ttf|eot/.test(rule.cssText)) found.add(new URL(address, sheet.href || document.baseURI).href);
      }
      for (const address of [...found].slice(0, 200)) {
        const image = new Image();
        kept.push(image);
        waiting.push(loaded(image));
        image.src = address;
      }
    }
    if (waiting.length) await Promise.race([Promise.all(waiting), clock.wait(cap)]);
  };

  // When elements have moved, the browser tells the new one under the mouse that it is hovered with a frame of its own, by
  // chance before or after a look: settling waits for that. A few frames at most, as a held button may keep the hover.
  const HOVER_FRAMES = 3;
  const ARRIVAL = 1000; // real ms for which the mouse is awaited, should something swallow its move
  let pointer = null, fresh = false, moved = () => {}; // fresh: it has moved since the last look; moved: called then
  addEventListener("mousemove", (event) => {
    if (!event.isTrusted) return;
    pointer = [event.clientX, event.clientY];
    fresh = true;
    moved();
  }, { capture: true, passive: true });
  const HOVER = ":hover:nth-child(n)"; // alone, ":hover" means links only in pages without a doctype
  const hovered = () => pointer === null || (document.elementFromPoint(...pointer) ?? undefined) === [...document.querySelectorAll(HOVER)].pop();

  // Wait until the mouse, on its way since the last look, has come to a point and the page has heard of it.
  const arrival = async ([x, y]) => {
    const there = () => fresh && pointer[0] === x && pointer[1] === y;
    if (there()) return;
    await Promise.race([new Promise((done) => { moved = () => { if (there()) done(); }; }), clock.wait(ARRIVAL)]);
    moved = () => {};
    await clock.turn(); // the page's own listeners come after this one
  };

  // Where frames are drawn on demand, the driver is asked for each: `see`, and `more` after it, answer with a wish until
  // all is told.
  const WISH = JSON.stringify({ frame: true });
  let demand = false, owed = 0, drawn = false, running = Promise.resolve("null"), wish = () => {};
  const frame = () => new Promise((done) => {
    owed++;
    clock.frame().then(() => { owed--; done(); });
    wish();
  });
  const more = () => (owed ? WISH : Promise.race([running, new Promise((done) => { wish = () => done(WISH); })]));

  // Whether something waits for frames that would come by themselves elsewhere: what is told or loaded in frames only,
  // another site's frame, where presses find their way by what was drawn last, and a new document, to which nothing of
  // the mouse comes before it was drawn.
  const IN_FRAMES = "[onscroll],[onscrollend],[onanimationstart],[onanimationend],[loading=lazy]";
  const needsFrames = (all) =>
    !drawn || window.onscroll || document.onscroll || all.some((t) => t.status.framed) || document.querySelector(IN_FRAMES) ||
    [...document.querySelectorAll("iframe")].some((f) => !frameDocument(f));

  // Let the page finish: `ms` of its own time, requests in flight, and what scripts still change; at most `cap` real ms.
  const settle = async (ms, cap) => {
    const started = clock.real();
    let whole = true;
    const pass = async (time) => {
      whole = (await clock.advance(time, 20000, cap)) && whole;
      for (const f of frames()) whole = (await f.clock.advance(time, 20000, cap)) && whole;
    };
    await pass(ms);
    await pictures(cap);
    const all = [tools, ...frames()];
    if (all.some((t) => t.status.frames) || (demand && needsFrames(all))) { await frame(); await frame(); drawn = true; }
    for (let round = 0, unhovered = 0; ; round++) {
      const before = changes;
      await clock.turn();
      const busy = status.requests > 0 || frames().some((f) => f.status.requests > 0);
      if (status.navigating) break;
      if (!busy && changes === before) {
        if (unhovered === HOVER_FRAMES || hovered()) break;
        unhovered++;
        await frame();
      }
      if (clock.real() - started > cap) { whole = false; break; }
      if (!busy && round > 0 && changes !== before && round > 20) { whole = false; break; }
      if (round > 0) await pass(1);
    }
    return { whole, navigating: status.navigating };
  };

  // ------------------------------------------------------------------ the driver's look

  // Functions given once a document and called by name: a text sent at every step would be compiled at every step.
  const scripts = new Map();
  const CLOSING = 500; // real ms for a window to go that closes itself

  // Wait for the mouse to come to `mouse` (null: not) and for the page to load, run `first`, settle, and tell all about
  // it; or which of the scripts is not here yet.
  const see = (wanted) => {
    demand = wanted.demand;
    running = tell(wanted);
    return demand ? more() : running;
  };
  const tell = async ({ time, cap, load, probe, first, given, mouse }) => {
    const missing = [probe, first].filter((name) => name && !scripts.has(name));
    if (mouse) await arrival(mouse);
    if (missing.length) return JSON.stringify({ missing });
    if (document.readyState !== "complete" && !status.reopened)
      await Promise.race([clock.wait(load), new Promise((done) => addEventListener("load", done, { once: true }))]);
    const told = first ? await scripts.get(first)(given) : undefined;
    const complete = document.readyState === "complete" || status.reopened;
    const { whole: still, navigating } = await settle(time, cap);
    if (status.closing) await clock.wait(CLOSING); // never over, if the window goes
    status.closing = false;
    const seen = look(), whole = still && complete;
    Object.assign(seen, { whole, navigating, told, probe: null, points: whole ? points() : {} });
    seen.back = !!(window.navigation && navigation.canGoBack);
    seen.forward = !!(window.navigation && navigation.canGoForward);
    try { if (probe) seen.probe = scripts.get(probe)() ?? null; } catch (error) { seen.unprobed = String(error); }
    fresh = false;
    return JSON.stringify(seen);
  };

  Object.assign(tools, {
    look, aim, applicable, settle, see, more,
    define: (name, script) => { scripts.set(name, script); },
    skip: (...ids) => { for (const id of ids) skipped.add(id); },
    keep: (...ids) => { for (const id of ids) skipped.delete(id); },
    mark: () => { for (const [n, ref] of elements) { const el = ref.deref(); if (el && el.isConnected) el.setAttribute("bid", String(n)); } },
    forget: () => { numbers = new WeakMap(); elements = new Map(); last = 0; },
    center: (number) => { const found = get(number); return found.error ? found : hit(found.el); },
  });
})();
