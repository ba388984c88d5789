/** A job's output as it comes; it follows the end until somebody scrolls up. */
import { Group, Switch, Text } from "@mantine/core";
import { useEffect, useRef, useState } from "react";
import { listen } from "../api/streams";

/** What is kept on the page: the end of a long log; all of it is one click away. */
const KEPT_CHARACTERS = 200_000;
const FLUSH_MS = 200;

export function Log({ job }: { job: string }) {
  const [text, setText] = useState("");
  const [ended, setEnded] = useState(false);
  const [follows, setFollows] = useState(true);
  const box = useRef<HTMLPreElement>(null);
  useEffect(() => {
    let waiting = "";
    let timer: ReturnType<typeof setTimeout> | undefined;
    const flush = () => {
      timer = undefined;
      const more = waiting;
      waiting = "";
      setText((before) => (before + more).slice(-KEPT_CHARACTERS));
    };
    setText("");
    setEnded(false);
    const stop = listen({
      path: `/jobs/${job}/logs/stream`,
      onTold: (told) => {
        if (told.kind === "end") setEnded(true);
        else waiting += (JSON.parse(told.data) as { text: string }).text;
        timer ??= setTimeout(flush, FLUSH_MS);
      },
      isLast: (told) => told.kind === "end",
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [job]);
  useEffect(() => {
    if (follows && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [text, follows]);
  return (
    <>
      <Group justify="space-between" mb="xs">
        <Text size="sm" c="dimmed">
          {ended ? "The job is over; this is the end of its output." : "As it comes."}
        </Text>
        <Group gap="md">
          <Switch size="xs" label="Follow" checked={follows} onChange={(event) => setFollows(event.currentTarget.checked)} />
          <a href={`/v1/jobs/${job}/logs`} download={`${job}.log`} className="small">
            Download
          </a>
        </Group>
      </Group>
      <pre ref={box} className="log mono" tabIndex={0} aria-label="Output">
        {text || "Nothing was printed yet."}
      </pre>
    </>
  );
}
