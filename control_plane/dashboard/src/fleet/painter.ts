/** Draws the map. What was drawn once at a zoom is kept as a picture, so that panning moves a picture. */
import type { Painted } from "./colours";
import { columnsOf, type Layout } from "./layout";

export interface View {
  /** The point of the map in the corner of the window, and pixels for a unit. */
  x: number;
  y: number;
  zoom: number;
}

/** Up to this size a whole map is kept as one picture; a larger one shows few nodes at a time, drawn as they come. */
const PICTURE_MAX_PX = 3000;
const FILLED = 0.86;
const LABEL_MIN_PX = 9;
/** While somebody zooms, the picture of the zoom before is stretched; it is drawn anew after this long. */
export const SHARPEN_MS = 120;

export class Painter {
  private picture: HTMLCanvasElement | null = null;
  private pictureZoom = 0;
  private layout: Layout | null = null;
  private painted: Painted | null = null;

  /** Show another fleet, or the same one in other colours. */
  show(layout: Layout, painted: Painted): void {
    this.layout = layout;
    this.painted = painted;
    this.picture = null;
  }

  /** Draw what the window sees. `sharp`: at this zoom, not stretched. */
  draw(context: CanvasRenderingContext2D, view: View, w: number, h: number, ink: string, sharp: boolean): void {
    if (!this.layout || !this.painted) return;
    context.clearRect(0, 0, w, h);
    const ratio = window.devicePixelRatio || 1;
    const fits = Math.max(this.layout.w, this.layout.h) * view.zoom * ratio <= PICTURE_MAX_PX;
    if (fits && (sharp || !this.picture) && this.pictureZoom !== view.zoom) this.picture = null;
    if (fits) this.picture ??= this.pictureAt(view.zoom, ratio);
    if (fits && this.picture) {
      const pictureW = (this.picture.width * view.zoom) / this.pictureZoom / ratio;
      const pictureH = (this.picture.height * view.zoom) / this.pictureZoom / ratio;
      context.imageSmoothingEnabled = view.zoom !== this.pictureZoom;
      context.drawImage(this.picture, -view.x * view.zoom, -view.y * view.zoom, pictureW, pictureH);
    } else {
      context.save();
      context.scale(view.zoom, view.zoom);
      context.translate(-view.x, -view.y);
      this.cells(context, { x: view.x, y: view.y, w: w / view.zoom, h: h / view.zoom });
      context.restore();
    }
    this.labels(context, view, w, h, ink);
  }

  private pictureAt(zoom: number, ratio: number): HTMLCanvasElement {
    const layout = this.layout!;
    const picture = document.createElement("canvas");
    picture.width = Math.max(1, Math.ceil(layout.w * zoom * ratio));
    picture.height = Math.max(1, Math.ceil(layout.h * zoom * ratio));
    const context = picture.getContext("2d")!;
    context.scale(zoom * ratio, zoom * ratio);
    this.cells(context, { x: 0, y: 0, w: layout.w, h: layout.h });
    this.pictureZoom = zoom;
    return picture;
  }

  private cells(context: CanvasRenderingContext2D, seen: { x: number; y: number; w: number; h: number }): void {
    const layout = this.layout!;
    const { palette, gpu } = this.painted!;
    const columns = columnsOf();
    let colour = -1;
    for (let i = 0; i < layout.x.length; i++) {
      const x = layout.x[i]!;
      const y = layout.y[i]!;
      if (x + columns < seen.x || y + layout.rows[i]! < seen.y || x > seen.x + seen.w || y > seen.y + seen.h) continue;
      const first = layout.firstGpu[i]!;
      const last = layout.firstGpu[i + 1]!;
      if (first === last) {
        context.strokeStyle = "#868e96";
        context.lineWidth = 0.12;
        context.strokeRect(x + 0.1, y + 0.1, FILLED - 0.1, FILLED - 0.1);
      }
      for (let g = first; g < last; g++) {
        if (gpu[g] !== colour) {
          colour = gpu[g]!;
          context.fillStyle = palette[colour]!;
        }
        const k = g - first;
        context.fillRect(x + (k % columns), y + Math.floor(k / columns), FILLED, FILLED);
      }
    }
  }

  private labels(context: CanvasRenderingContext2D, view: View, w: number, h: number, ink: string): void {
    const sizes = [1.7, 1.25, 0.95];
    const pads = [0.8, 0.6, 0.4];
    context.fillStyle = ink;
    context.strokeStyle = ink;
    context.textBaseline = "top";
    for (const group of this.layout!.groups) {
      const x = (group.x - view.x) * view.zoom;
      const y = (group.y - view.y) * view.zoom;
      const wide = group.w * view.zoom;
      const high = group.h * view.zoom;
      if (x > w || y > h || x + wide < 0 || y + high < 0) continue;
      context.globalAlpha = group.level === 0 ? 0.45 : 0.18;
      context.lineWidth = 1;
      if (group.level < 2) context.strokeRect(Math.round(x) + 0.5, Math.round(y) + 0.5, Math.round(wide) - 1, Math.round(high) - 1);
      const size = Math.min(16, sizes[group.level]! * view.zoom);
      if (size < LABEL_MIN_PX - group.level || !group.name) continue;
      context.globalAlpha = group.level === 2 ? 0.75 : 1;
      context.font = `${group.level === 0 ? 600 : 400} ${size}px system-ui, sans-serif`;
      const pad = Math.max(2, pads[group.level]! * view.zoom * 0.6);
      context.fillText(clip(context, group.name, wide - 2 * pad), x + pad, y + pad);
    }
    context.globalAlpha = 1;
  }
}

/** As much of a name as fits, with a sign that there is more. */
function clip(context: CanvasRenderingContext2D, name: string, width: number): string {
  if (context.measureText(name).width <= width) return name;
  let kept = name;
  while (kept.length > 1 && context.measureText(`${kept}…`).width > width) kept = kept.slice(0, -1);
  return kept.length > 1 ? `${kept}…` : "";
}
