/* <sharpbit-compare>: two layers of one image on both sides of a divider, with one zoom and one place for both.

A plain script without imports, so that it works from file:// as well. `element.show(size, left, right)` takes the size
of the result, {width, height}, and two layers:

  {name, width, height, part(box)}   part gives a promise of what a canvas can draw: of box, {left, top, width, height} in
                                     pixels of the layer, or of all of it (made smaller where it is large) for null

A layer that is smaller than the result is stretched over it; from 100 % on its pixels stay squares. */

"use strict";

(() => {
  const TILE = 1024; // pixels of a side of the parts that are asked for
  const KEPT = 60; // parts that are kept
  const NEAR = 22; // CSS pixels from the divider within which a pointer takes hold of it
  const MOST = 16; // device pixels for a pixel of the result, at most

  class Layer {
    constructor(given, changed) {
      Object.assign(this, { given, changed, whole: null, tiles: new Map() });
      given.part(null).then((image) => { this.whole = image; changed(); }, () => {});
    }

    tile(column, row) {
      const key = `${column} ${row}`;
      const found = this.tiles.get(key);
      if (found) {
        this.tiles.delete(key);
        this.tiles.set(key, found);
        return found.image;
      }
      const tile = { image: null };
      this.tiles.set(key, tile);
      if (this.tiles.size > KEPT) this.tiles.delete(this.tiles.keys().next().value);
      this.given.part(this.box(column, row)).then(
        (image) => { tile.image = image; this.changed(); },
        () => this.tiles.delete(key),
      );
      return null;
    }

    box(column, row) {
      const left = column * TILE, top = row * TILE;
      return {
        left, top, width: Math.min(TILE, this.given.width - left), height: Math.min(TILE, this.given.height - top),
      };
    }
  }

  class Compare extends HTMLElement {
    connectedCallback() {
      if (this.stage) return;
      this.stage = this.add(this, "div", "compare-stage");
      this.stage.tabIndex = 0;
      this.stage.setAttribute("role", "group");
      this.stage.setAttribute("aria-label", "Image; arrow keys move it, plus and minus zoom, 0 shows all of it");
      this.canvas = this.add(this.stage, "canvas", "");
      this.line = this.add(this.stage, "div", "compare-line");
      this.names = ["left", "right"].map((side) => this.add(this.stage, "span", `compare-label ${side}`));
      this.divider = this.add(this, "input", "compare-divider");
      Object.assign(this.divider, { type: "range", min: 0, max: 100, step: 1, value: 50 });
      this.divider.setAttribute("aria-label", "Divider between both sides");
      this.divider.addEventListener("input", () => this.drawSoon());
      Object.assign(this, { zoom: "fit", scale: 1, x: 0, y: 0, layers: null, size: null, pointers: new Map() });
      this.listen();
      new ResizeObserver(() => this.fitted()).observe(this.stage);
    }

    add(parent, kind, name) {
      const element = document.createElement(kind);
      element.className = name;
      parent.append(element);
      return element;
    }

    show(size, left, right) {
      const same = this.size && this.size.width === size.width && this.size.height === size.height;
      const layer = (given) => this.layers?.find((old) => old.given === given) ?? new Layer(given, () => this.drawSoon());
      this.layers = [left, right].map(layer);
      this.size = size;
      this.names.forEach((label, side) => { label.textContent = [left, right][side].name; });
      if (!same) {
        [this.x, this.y] = [size.width / 2, size.height / 2];
        this.zoom = "fit";
      }
      this.fitted();
    }

    /* `fit`, or device pixels for a pixel of the result. */
    zoomTo(zoom, at) {
      if (!this.size) return;
      const before = this.scale, { width, height } = this.canvas;
      this.zoom = zoom;
      this.scale = zoom === "fit" ? this.fitting() : Math.min(MOST, Math.max(zoom, Math.min(this.fitting(), 1)));
      if (at && zoom !== "fit") { // what lies under the pointer stays there
        this.x += (at.x - width / 2) * (1 / before - 1 / this.scale);
        this.y += (at.y - height / 2) * (1 / before - 1 / this.scale);
      }
      this.place();
      this.dispatchEvent(new CustomEvent("zoomed", { detail: this.zoom }));
    }

    moveBy(x, y) {
      this.x += x / this.scale;
      this.y += y / this.scale;
      this.place();
    }

    fitting() {
      const { width, height } = this.canvas;
      return Math.min(width / this.size.width, height / this.size.height, Math.max(1, window.devicePixelRatio));
    }

    fitted() {
      const ratio = window.devicePixelRatio, { clientWidth, clientHeight } = this.stage;
      if (!clientWidth || !clientHeight) return;
      Object.assign(this.canvas, { width: Math.round(clientWidth * ratio), height: Math.round(clientHeight * ratio) });
      if (this.size) this.zoomTo(this.zoom);
    }

    place() { // the image does not leave the stage, and is in the middle of it where it is smaller
      const within = (value, whole, room) => {
        const half = room / this.scale / 2;
        return half * 2 >= whole ? whole / 2 : Math.min(whole - half, Math.max(half, value));
      };
      this.x = within(this.x, this.size.width, this.canvas.width);
      this.y = within(this.y, this.size.height, this.canvas.height);
      this.stage.style.touchAction = this.zoom === "fit" ? "pan-y" : "none";
      this.drawSoon();
    }

    drawSoon() {
      if (this.drawing) return;
      this.drawing = requestAnimationFrame(() => {
        this.drawing = 0;
        if (this.size) this.draw();
      });
    }

    draw() {
      const context = this.canvas.getContext("2d"), { width, height } = this.canvas;
      const left = width / 2 - this.x * this.scale, top = height / 2 - this.y * this.scale;
      const share = this.divider.value / 100;
      const from = Math.max(0, left), to = Math.min(width, left + this.size.width * this.scale);
      const split = from + (to - from) * share;
      context.clearRect(0, 0, width, height);
      this.layers.forEach((layer, side) => {
        context.save();
        context.beginPath();
        context.rect(side ? split : 0, 0, side ? width - split : split, height);
        context.clip();
        this.drawLayer(context, layer, left, top);
        context.restore();
      });
      this.split = split;
      this.line.style.left = `${(split / width) * 100}%`;
      const [one, other] = this.layers.map((layer) => layer.given.name);
      this.divider.setAttribute("aria-valuetext", `${Math.round(share * 100)} % ${one}, the rest ${other}`);
    }

    drawLayer(context, layer, left, top) {
      const stretch = this.size.width / layer.given.width, scale = this.scale * stretch;
      context.imageSmoothingEnabled = scale < 1;
      context.imageSmoothingQuality = "high";
      const wide = this.size.width * this.scale, high = this.size.height * this.scale;
      if (layer.whole) context.drawImage(layer.whole, left, top, wide, high);
      const shown = layer.whole ? layer.whole.width / layer.given.width : 0;
      if (!layer.whole || shown >= Math.min(1, scale)) return;
      const range = (start, room, count) => [
        Math.max(0, Math.floor(-start / scale / TILE)), Math.min(Math.ceil(count / TILE), Math.ceil((room - start) / scale / TILE)),
      ];
      const [first, last] = range(left, this.canvas.width, layer.given.width);
      const [upper, lower] = range(top, this.canvas.height, layer.given.height);
      for (let row = upper; row < lower; row++) {
        for (let column = first; column < last; column++) {
          const image = layer.tile(column, row), box = layer.box(column, row);
          if (image) context.drawImage(image, left + box.left * scale, top + box.top * scale, box.width * scale, box.height * scale);
        }
      }
    }

    listen() {
      const at = (event) => {
        const box = this.stage.getBoundingClientRect(), ratio = this.canvas.width / box.width;
        return { x: (event.clientX - box.left) * ratio, y: (event.clientY - box.top) * ratio };
      };
      const apart = () => {
        const [a, b] = [...this.pointers.values()];
        return Math.hypot(a.x - b.x, a.y - b.y);
      };
      this.stage.addEventListener("pointerdown", (event) => {
        if (!this.size) return;
        const point = at(event);
        this.pointers.set(event.pointerId, point);
        this.stage.setPointerCapture(event.pointerId);
        this.holds = this.zoom === "fit" || Math.abs(point.x - this.split) < NEAR * window.devicePixelRatio;
        if (this.holds) this.splitAt(point.x);
      });
      this.stage.addEventListener("pointermove", (event) => {
        const before = this.pointers.get(event.pointerId);
        if (!before) return;
        const point = at(event), two = this.pointers.size === 2, wide = two ? apart() : 0;
        this.pointers.set(event.pointerId, point);
        if (two) this.zoomTo((this.scale * apart()) / wide, point);
        else if (this.holds) this.splitAt(point.x);
        else this.moveBy(before.x - point.x, before.y - point.y);
      });
      for (const name of ["pointerup", "pointercancel"]) {
        this.stage.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
      }
      this.stage.addEventListener("wheel", (event) => {
        if (!this.size) return;
        event.preventDefault();
        this.zoomTo(this.scale * Math.exp(-event.deltaY / 400), at(event));
      }, { passive: false });
      this.stage.addEventListener("keydown", (event) => this.key(event));
    }

    key(event) {
      const step = this.canvas.width / 8;
      const does = {
        ArrowLeft: () => this.moveBy(-step, 0), ArrowRight: () => this.moveBy(step, 0),
        ArrowUp: () => this.moveBy(0, -step), ArrowDown: () => this.moveBy(0, step),
        "+": () => this.zoomTo(this.scale * 1.25), "=": () => this.zoomTo(this.scale * 1.25),
        "-": () => this.zoomTo(this.scale / 1.25), 0: () => this.zoomTo("fit"),
      }[event.key];
      if (!does || !this.size || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      does();
    }

    splitAt(x) {
      const left = this.canvas.width / 2 - this.x * this.scale;
      const from = Math.max(0, left), to = Math.min(this.canvas.width, left + this.size.width * this.scale);
      this.divider.value = (100 * (x - from)) / (to - from);
      this.drawSoon();
    }
  }

  customElements.define("sharpbit-compare", Compare);
})();
