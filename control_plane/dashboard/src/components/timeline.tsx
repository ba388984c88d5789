/** Events as a story, the newest first. */
import { Text } from "@mantine/core";
import type { GodwitEvent } from "../api/types";
import { Nothing } from "./panels";
import { At } from "./time";

export function EventList({ events, limit = 40 }: { events: GodwitEvent[]; limit?: number }) {
  if (!events.length) return <Nothing>Nothing happened yet.</Nothing>;
  const newest = [...events].reverse().slice(0, limit);
  return (
    <ol className="story" aria-label="Events" tabIndex={0}>
      {newest.map((event) => (
        <li key={event.seq}>
          <Text size="xs" c="dimmed" component="div" className="nowrap">
            <At at={event.at} />
          </Text>
          <div className="wrap">
            <Text size="sm" fw={600} component="span">
              {event.old && event.new ? `${event.old} → ${event.new}` : event.kind}
            </Text>{" "}
            <Text size="sm" component="span">
              {event.reason}
            </Text>
            <Text size="xs" c="dimmed">
              {event.subject} {event.subject_id} · {event.actor}
            </Text>
          </div>
        </li>
      ))}
    </ol>
  );
}
