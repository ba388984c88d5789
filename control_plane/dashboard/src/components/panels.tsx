/** Boxes that pages are made of: a titled panel, a big figure, and what stands where there is nothing to show. */
import { Alert, Card, Group, Skeleton, Stack, Text, Title } from "@mantine/core";
import type { UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";

export function PageTitle({ title, children, below }: { title: ReactNode; children?: ReactNode; below?: ReactNode }) {
  return (
    <Stack gap={6} mb="md">
      <Group justify="space-between" gap="sm">
        <Title order={1} size="h3">
          {title}
        </Title>
        <Group gap="xs">{children}</Group>
      </Group>
      {below && (
        <Text size="sm" c="dimmed" component="div">
          {below}
        </Text>
      )}
    </Stack>
  );
}

export function Panel(props: { title?: ReactNode; actions?: ReactNode; tone?: string; children: ReactNode; id?: string }) {
  return (
    <Card withBorder padding="md" radius="md" id={props.id} className="panel" data-tone={props.tone} component="section">
      {props.title && (
        <Group justify="space-between" mb="sm" gap="xs">
          <Title order={2} size="h5">
            {props.title}
          </Title>
          {props.actions}
        </Group>
      )}
      {props.children}
    </Card>
  );
}

/** One number that answers a question. */
export function Figure(props: { label: string; value: ReactNode; note?: ReactNode; tone?: string; id?: string }) {
  return (
    <div data-testid={props.id}>
      <Text size="sm" c="dimmed">
        {props.label}
      </Text>
      <Text fz={26} fw={650} lh={1.25} className={props.tone ? `tone-${props.tone}` : undefined}>
        {props.value}
      </Text>
      {props.note && (
        <Text size="sm" c="dimmed" component="div">
          {props.note}
        </Text>
      )}
    </div>
  );
}

export function Nothing({ children }: { children: ReactNode }) {
  return (
    <Text c="dimmed" size="sm" py="xs" component="div">
      {children}
    </Text>
  );
}

export function Trouble({ error }: { error: Error }) {
  return (
    <Alert color="red" variant="light" title="This cannot be shown" role="alert">
      {error.message}
    </Alert>
  );
}

/** What a query answered; its outline while it is asked, its refusal where it fails before the first answer. */
export function Loaded<Data>({ of, children }: { of: UseQueryResult<Data>; children: (data: Data) => ReactNode }) {
  if (of.data !== undefined) return <>{children(of.data)}</>;
  if (of.error) return <Trouble error={of.error} />;
  return <Skeleton height={120} radius="md" role="status" aria-label="loading" />;
}
