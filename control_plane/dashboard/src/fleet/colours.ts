/** What colour each GPU has, by what is asked; pure. */
import type { Fleet } from "../api/types";
import { HEALTH_COLOURS, USE_COLOURS } from "../components/states";

export type By = "use" | "health" | "utilization" | "owner" | "price";
export const BYS: { value: By; label: string }[] = [
  { value: "use", label: "State" },
  { value: "health", label: "Health" },
  { value: "utilization", label: "Utilisation" },
  { value: "owner", label: "Owner" },
  { value: "price", label: "Price" },
];

const NONE = "#ced4da";
const FAINT = "#e9ecef";
/** From cold to hot in eight steps: few enough to tell apart. */
const RAMP = ["#dbe4ff", "#a5d8ff", "#66d9e8", "#63e6be", "#a9e34b", "#ffd43b", "#ffa94d", "#f76707"];

export interface Painted {
  /** Colours by number, and the number of each GPU, in the order of the fleet's columns. */
  palette: string[];
  gpu: Uint8Array | Uint16Array;
  legend: { label: string; colour: string; count: number }[];
}

const hue = (name: string): string => {
  let hash = 7;
  for (const letter of name) hash = (hash * 31 + letter.charCodeAt(0)) >>> 0;
  return `hsl(${(hash * 137) % 360} 60% ${45 + (hash % 3) * 8}%)`;
};

/** The colours of a fleet; `faint` tells which nodes a search left out. */
export function paint(fleet: Fleet, by: By, faint: (node: number) => boolean): Painted {
  const coded = codes(fleet, by);
  const palette = [...coded.palette, FAINT];
  const gpu = new Uint16Array(fleet.gpus.use.length);
  const counts = new Array<number>(coded.palette.length).fill(0);
  for (let i = 0, g = 0; i < fleet.nodes.id.length; i++) {
    const isFaint = faint(i);
    for (const end = g + (fleet.nodes.gpu_count[i] ?? 0); g < end; g++) {
      const code = coded.code(g, i);
      counts[code] = (counts[code] ?? 0) + 1;
      gpu[g] = isFaint ? palette.length - 1 : code;
    }
  }
  const legend = coded.labels.map((label, k) => ({ label, colour: palette[k] ?? NONE, count: counts[k] ?? 0 }));
  return { palette, gpu, legend: legend.filter((entry) => entry.count > 0) };
}

interface Coded {
  palette: string[];
  labels: string[];
  code: (gpu: number, node: number) => number;
}

function codes(fleet: Fleet, by: By): Coded {
  const { gpus, tables, nodes } = fleet;
  if (by === "use") {
    const names = tables.gpu_uses ?? [];
    return { palette: names.map((name) => USE_COLOURS[name] ?? NONE), labels: names, code: (g) => gpus.use[g] ?? 0 };
  }
  if (by === "health") {
    const names = tables.healths ?? [];
    return { palette: names.map((name) => HEALTH_COLOURS[name] ?? NONE), labels: names, code: (g) => gpus.health[g] ?? 0 };
  }
  if (by === "owner") {
    const owners = tables.owners;
    return {
      palette: [NONE, ...owners.map((owner) => hue(owner.id))],
      labels: ["nobody", ...owners.map((owner) => owner.name)],
      code: (g) => (gpus.owner[g] ?? -1) + 1,
    };
  }
  if (by === "utilization") {
    const labels = ["not measured", ...RAMP.map((_, k) => `${Math.round((k * 100) / 8)} to ${Math.round(((k + 1) * 100) / 8)}%`)];
    const code = (g: number) => {
      const measured = gpus.utilization[g] ?? -1;
      return measured < 0 ? 0 : 1 + Math.min(7, measured >> 5);
    };
    return { palette: [NONE, ...RAMP], labels, code };
  }
  return byPrice(nodes);
}

/** Dollars for a GPU and hour, in steps between the cheapest and the dearest of the fleet. */
function byPrice(nodes: Fleet["nodes"]): Coded {
  const each = nodes.price.map((price, i) => price / Math.max(1, nodes.gpu_count[i] ?? 1));
  const low = Math.min(...each);
  const step = (Math.max(...each) - low || 1) / RAMP.length;
  const labels = RAMP.map((_, k) => `$${(low + k * step).toFixed(2)} to $${(low + (k + 1) * step).toFixed(2)}`);
  return { palette: RAMP, labels, code: (_, i) => Math.min(7, Math.floor(((each[i] ?? low) - low) / step)) };
}
