/** Where each node and GPU lies on the map; pure. One unit is the pitch of a GPU's cell. */
import type { Fleet } from "../api/types";

export interface Box {
  x: number;
  y: number;
  w: number;
  h: number;
}

export interface Group extends Box {
  name: string;
  /** 0: provider, 1: region, 2: fabric domain. */
  level: 0 | 1 | 2;
}

export interface Layout {
  w: number;
  h: number;
  groups: Group[];
  /** Of each node: its corner, its columns and rows of cells, and which GPU is its first. */
  x: Float32Array;
  y: Float32Array;
  columns: Uint8Array;
  rows: Uint8Array;
  firstGpu: Int32Array;
}

/** Cells of a node lie in rows of four: eight GPUs make two rows, as on the board. */
const COLUMNS = 4;
const NODE_GAP = 0.5;
const LABEL = [2.2, 1.7, 1.3] as const;
const PAD = [0.8, 0.6, 0.4] as const;

interface Block extends Box {
  /** Lays its content out at its own place. */
  place: (x: number, y: number) => void;
}

/** Runs of equal values of `of` within [from, to). */
export function runs(of: (i: number) => string | number, from: number, to: number): [number, number][] {
  const found: [number, number][] = [];
  for (let begin = from, i = from + 1; i <= to; i++) {
    if (i < to && of(i) === of(begin)) continue;
    if (begin < to) found.push([begin, i]);
    begin = i;
  }
  return found;
}

/** Put boxes on shelves no wider than `width`, in their order; returns what they take in all. */
export function shelve(boxes: Box[], width: number, gap: number): { w: number; h: number } {
  let x = 0;
  let y = 0;
  let shelf = 0;
  let widest = 0;
  for (const box of boxes) {
    if (x > 0 && x + box.w > width) {
      x = 0;
      y += shelf + gap;
      shelf = 0;
    }
    box.x = x;
    box.y = y;
    x += box.w + gap;
    shelf = Math.max(shelf, box.h);
    widest = Math.max(widest, x - gap);
  }
  return { w: widest, h: y + shelf };
}

/** The map of a fleet for a window of this aspect (width by height). */
export function layOut(fleet: Fleet, aspect: number): Layout {
  const { nodes, tables } = fleet;
  const n = nodes.id.length;
  const layout: Layout = {
    w: 0, h: 0, groups: [],
    x: new Float32Array(n), y: new Float32Array(n),
    columns: new Uint8Array(n), rows: new Uint8Array(n), firstGpu: new Int32Array(n + 1),
  };
  let area = 0;
  for (let i = 0; i < n; i++) {
    const gpus = nodes.gpu_count[i] ?? 0;
    layout.firstGpu[i + 1] = (layout.firstGpu[i] ?? 0) + gpus;
    layout.columns[i] = Math.max(1, Math.min(COLUMNS, gpus));
    layout.rows[i] = Math.max(1, Math.ceil(gpus / COLUMNS));
    area += (layout.columns[i]! + NODE_GAP) * (layout.rows[i]! + NODE_GAP);
  }
  const width = Math.max(12, Math.sqrt(area * 1.5 * aspect));
  const group = (level: 0 | 1 | 2, name: string, inner: Block[]): Block => {
    const pad = PAD[level];
    const size = shelve(inner, width - 2 * pad * (level + 1), pad);
    const w = Math.max(size.w, Math.min(8, name.length * 0.7 * LABEL[level])) + 2 * pad;
    const h = size.h + LABEL[level] + 2 * pad;
    return {
      x: 0, y: 0, w, h,
      place(x, y) {
        layout.groups.push({ x, y, w, h, name, level });
        for (const each of inner) each.place(x + pad + each.x, y + pad + LABEL[level] + each.y);
      },
    };
  };
  const tiles = (from: number, to: number): Block[] =>
    Array.from({ length: to - from }, (_, k) => ({
      x: 0, y: 0, w: layout.columns[from + k]!, h: layout.rows[from + k]!,
      place(x: number, y: number) {
        layout.x[from + k] = x;
        layout.y[from + k] = y;
      },
    }));
  const named = (table: string[], i: number | undefined) => (i === undefined || i < 0 ? "" : (table[i] ?? ""));
  const domains = (from: number, to: number): Block[] =>
    runs((i) => nodes.domain[i] ?? -1, from, to).map(([a, b]) => square(group, named(tables.domains, nodes.domain[a]), tiles(a, b), width));
  const regions = (from: number, to: number): Block[] =>
    runs((i) => nodes.region[i] ?? -1, from, to).map(([a, b]) => group(1, named(tables.regions, nodes.region[a]), domains(a, b)));
  const providers = runs((i) => nodes.provider[i] ?? -1, 0, n).map(([a, b]) =>
    group(0, named(tables.providers, nodes.provider[a]), regions(a, b)),
  );
  const size = shelve(providers, width, PAD[0]);
  for (const each of providers) each.place(each.x, each.y);
  layout.w = size.w;
  layout.h = size.h;
  return layout;
}

/** The nodes of a domain as a block about as wide as high, rather than one long row. */
function square(
  group: (level: 2, name: string, inner: Block[]) => Block, name: string, nodes: Block[], width: number,
): Block {
  const area = nodes.reduce((sum, node) => sum + (node.w + NODE_GAP) * (node.h + NODE_GAP), 0);
  const wide = Math.min(width - 6, Math.max(COLUMNS, Math.sqrt(area * 2.5)));
  const size = shelve(nodes, wide, NODE_GAP);
  const all: Block = {
    x: 0, y: 0, ...size,
    place: (x, y) => {
      for (const node of nodes) node.place(x + node.x, y + node.y);
    },
  };
  return group(2, name, [all]);
}

export interface Hit {
  node: number;
  /** Its place among the GPUs of the whole fleet; -1 beside them. */
  gpu: number;
}

/** What lies at a point of the map, or null. */
export function hitAt(layout: Layout, x: number, y: number): Hit | null {
  for (let i = 0; i < layout.x.length; i++) {
    const dx = x - layout.x[i]!;
    const dy = y - layout.y[i]!;
    if (dx < 0 || dy < 0 || dx >= layout.columns[i]! || dy >= layout.rows[i]!) continue;
    const k = Math.floor(dy) * COLUMNS + Math.floor(dx);
    const first = layout.firstGpu[i]!;
    return { node: i, gpu: first + k < layout.firstGpu[i + 1]! ? first + k : -1 };
  }
  return null;
}

export const columnsOf = (): number => COLUMNS;
