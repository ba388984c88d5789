/** Actions: disabled with the reason where the role does not allow them, asked with their consequences where it does. */
import { Alert, Button, type ButtonProps, Group, List, Modal, Skeleton, Stack, Text, Title, Tooltip } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { type Role, useWhyNot } from "../api/session";

export interface Action {
  /** What the button says, and the question's title. */
  label: string;
  title: string;
  least: Role;
  /** What will happen, as the control plane foresees it now; asked when the question is. */
  consequences: () => Promise<string[]>;
  run: () => Promise<unknown>;
  isGrave?: boolean;
  /** Why it makes no sense now, whoever asks; else null. */
  unless?: string | null;
  /** More to say or choose before it is done. */
  children?: ReactNode;
  /** Whether what was chosen suffices. */
  ready?: boolean;
}

export function ActionButton({ action, ...look }: { action: Action } & Pick<ButtonProps, "size" | "variant">) {
  const [opened, { open, close }] = useDisclosure(false);
  const forbidden = useWhyNot(action.least);
  const why = forbidden ?? action.unless ?? null;
  const button = (
    <Button
      size={look.size ?? "xs"}
      variant={look.variant ?? "default"}
      className={action.isGrave ? "grave" : undefined}
      onClick={why === null ? open : undefined}
      aria-disabled={why !== null}
      data-disabled={why !== null || undefined}
      aria-description={why ?? undefined}
    >
      {action.label}
    </Button>
  );
  return (
    <>
      {why === null ? button : <Tooltip label={why} multiline maw={320} events={{ hover: true, focus: true, touch: true }}>{button}</Tooltip>}
      {opened && <Question action={action} close={close} />}
    </>
  );
}

function Question({ action, close }: { action: Action; close: () => void }) {
  const queries = useQueryClient();
  const foreseen = useQuery({
    queryKey: ["consequences", action.title],
    queryFn: action.consequences,
    gcTime: 0,
    staleTime: 0,
  });
  const run = useMutation({
    mutationFn: action.run,
    onSuccess: () => {
      close();
      // What was asked for shows at once, whatever the stream of changes does.
      void queries.invalidateQueries();
    },
  });
  return (
    <Modal opened onClose={close} title={<Title order={2} size="h4">{action.title}</Title>} centered>
      <Stack>
        {foreseen.isPending && <Skeleton height={40} />}
        {foreseen.error && <Alert color="orange">What this would do cannot be said: {foreseen.error.message}</Alert>}
        {foreseen.data && foreseen.data.length > 0 && (
          <List size="sm" data-testid="consequences">
            {foreseen.data.map((line) => (
              <List.Item key={line}>{line}</List.Item>
            ))}
          </List>
        )}
        {action.children}
        {run.error && (
          <Alert color="red" role="alert">
            {run.error.message}
          </Alert>
        )}
        <Text size="xs" c="dimmed">
          It is written down who did this.
        </Text>
        <Group justify="flex-end">
          <Button variant="default" onClick={close} data-autofocus>
            Leave it
          </Button>
          <Button
            color={action.isGrave ? "red" : undefined}
            loading={run.isPending}
            disabled={foreseen.isPending || action.ready === false}
            onClick={() => run.mutate()}
          >
            {action.label}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
