/** States and what GPUs do, in words and colours that are the same on every page. */
const TONES: Record<string, string> = {
  // What works.
  running: "teal", ready: "teal", busy: "teal", healthy: "teal", serving: "teal", succeeded: "teal", closed: "teal",
  // What comes.
  queued: "yellow", requested: "blue", provisioning: "blue", joining: "blue", starting: "blue", testing: "blue",
  // What changes.
  migrating: "violet", resizing: "violet", recovering: "orange", repairing: "orange", stopping: "grape", draining: "grape",
  terminating: "grape", deleting: "grape", cordoned: "grape", held: "yellow", suspect: "orange",
  // What is wrong.
  failed: "red", lost: "red", faulty: "red", broken: "red", quarantined: "red", retired: "red", open: "red", escalated: "red", unhealthy: "red",
};

/** The tone of a state; grey for what is over or unknown. */
export const toneOf = (state: string): string => TONES[state] ?? "gray";

/** A word in its colour; the word alone says it too. */
export function StateBadge({ state }: { state: string }) {
  return <span className={`state state-${toneOf(state)}`}>{state}</span>;
}

export const USE_COLOURS: Record<string, string> = {
  busy: "#12b886", idle: "#adb5bd", held: "#fcc419", starting: "#339af0", broken: "#e03131", suspect: "#fd7e14",
  draining: "#ae3ec9", lost: "#7a1f1f",
};

export const HEALTH_COLOURS: Record<string, string> = {
  healthy: "#12b886", suspect: "#fd7e14", faulty: "#e03131", quarantined: "#a61e4d", retired: "#495057",
};
