/** Figures and instants as people read them; pure. */

/** `$1,234`, `$12.30`, `$0.004`: three digits that count, whole dollars when there are many. */
export function usd(amount: number): string {
  const size = Math.abs(amount);
  const digits = size >= 1000 ? 0 : size >= 0.095 || size === 0 ? 2 : 4;
  return `${amount < 0 ? "-" : ""}$${size.toLocaleString("en-US", { minimumFractionDigits: Math.min(digits, 2), maximumFractionDigits: digits })}`;
}

export const count = (n: number): string => n.toLocaleString("en-US");

export const percent = (share: number): string => `${Math.round(share * 100)}%`;

/** `3 jobs`, `1 job`. */
export const many = (n: number, one: string, more = `${one}s`): string => `${count(n)} ${n === 1 ? one : more}`;

/** `42 s`, `5 min`, `3 h 20 min`, `2 d 4 h`: two units at the most. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  const minutes = Math.round(s / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}

/** In the viewer's own zone, to the second, with the zone's name. */
export function instant(at: number): string {
  return new Date(at * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
}

/** The time of day in the viewer's zone, for axes and timelines. */
export function clock(at: number): string {
  return new Date(at * 1000).toLocaleTimeString(undefined, { hour12: false });
}

export function bytes(n: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let i = 0;
  let left = n;
  while (left >= 1000 && i < units.length - 1) {
    left /= 1000;
    i += 1;
  }
  return `${left >= 100 || i === 0 ? Math.round(left) : left.toFixed(1)} ${units[i]}`;
}

export const figure = (n: number): string =>
  Math.abs(n) >= 1000 ? Math.round(n).toLocaleString("en-US") : String(Number(n.toPrecision(4)));
