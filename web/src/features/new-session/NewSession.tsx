import { useQuery, useQueryClient } from "@tanstack/react-query";
import { ChevronDown, FlaskConical, GitBranch } from "lucide-react";
import { useDeferredValue, useEffect, useId, useMemo, useRef, useState } from "react";
import { useLocation } from "wouter";
import { ApiError, api, asApiError, newIdempotencyKey } from "../../api/client";
import type { ProfileSummary } from "../../api/types";
import { useCommands } from "../../keys/registry";
import { applySession, useSessionList } from "../../live/sessions";
import { Button } from "../../ui/Button";
import { ErrorNote } from "../../ui/ErrorNote";
import { ChoiceMenu } from "../../ui/Menu";
import { useStored } from "../../ui/storage";
import { ModelPickers } from "../composer/ModelPickers";
import { resolveChoice } from "../composer/models";
import { runtimeName } from "../session/status";
import "./new-session.css";
import { choiceOf, RepositoryField } from "./RepositoryField";
import { FORGOTTEN, type Remembered, remember } from "./remembered";

const MAX_BYTES = 1024 * 1024;
/** After the last key, before the server is asked whether a repository exists. */
const CHECK_AFTER_MS = 350;

const POLICIES: Record<ProfileSummary["profile"]["approval_policy"], string> = {
  ask_every_time: "asks every time",
  ask_when_risky: "asks when risky",
  autonomous: "never asks",
};

function useDebounced(value: string): string {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), CHECK_AFTER_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}

const looksWhole = (source: string) => /^\/.+/.test(source) || /^https?:\/\/[^/]+\/.+/.test(source);

/** Where a problem belongs on this form. */
type Field = "profile" | "repository" | "branch" | "task" | "form";
function fieldOf(error: ApiError): Field {
  const pointer = error.pointer ?? "";
  if (pointer.startsWith("/repository/branch")) return "branch";
  if (pointer.startsWith("/repository") || pointer.startsWith("/source")) return "repository";
  if (pointer.startsWith("/branch")) return "branch";
  if (pointer.startsWith("/task")) return "task";
  if (pointer.startsWith("/profile")) return "profile";
  return "form";
}

function ProfileField({
  profiles,
  current,
  onChoose,
  error,
}: {
  profiles: readonly ProfileSummary[];
  current: ProfileSummary;
  onChoose: (name: string) => void;
  error: string | undefined;
}) {
  const { profile } = current;
  return (
    <div className="field">
      <span className="field-label">Profile</span>
      <ChoiceMenu
        value={profile.name}
        onChoose={onChoose}
        choices={profiles.map((summary) => ({
          value: summary.profile.name,
          label: summary.profile.name,
          detail: summary.unavailable ?? (summary.profile.description || summary.provider_label),
          disabled: Boolean(summary.unavailable),
        }))}
        trigger={
          <button
            type="button"
            className="btn select"
            aria-label={`Profile: ${profile.name}`}
            aria-describedby="profile-note"
          >
            <span className="truncate">{profile.name}</span>
            <span className="spacer" />
            <ChevronDown size={14} aria-hidden="true" />
          </button>
        }
      />
      <p id="profile-note" className={error || current.unavailable ? "field-error" : "field-hint"}>
        {error ??
          current.unavailable ??
          `${runtimeName(profile.runtime)} · ${POLICIES[profile.approval_policy]}`}
      </p>
    </div>
  );
}

function BranchField({
  branches,
  value,
  onChange,
  disabled,
  error,
}: {
  branches: readonly string[];
  value: string;
  onChange: (branch: string) => void;
  disabled: boolean;
  error: string | undefined;
}) {
  const id = useId();
  const shown = value || (branches[0] ?? "Default branch");
  return (
    <div className="field">
      <label htmlFor={id}>Branch</label>
      {branches.length > 0 ? (
        <ChoiceMenu
          value={value || branches[0]}
          choices={branches.map((branch, i) => ({
            value: branch,
            label: branch,
            detail: i === 0 ? "Checked out" : undefined,
          }))}
          onChoose={onChange}
          trigger={
            <button id={id} type="button" className="btn select" aria-label={`Branch: ${shown}`}>
              <GitBranch size={14} aria-hidden="true" />
              <span className="truncate">{shown}</span>
              <span className="spacer" />
              <ChevronDown size={14} aria-hidden="true" />
            </button>
          }
        />
      ) : (
        <input
          id={id}
          className="input"
          placeholder={disabled ? "No repository" : "Default branch"}
          disabled={disabled}
          value={disabled ? "" : value}
          spellCheck={false}
          autoComplete="off"
          aria-invalid={error !== undefined}
          onChange={(event) => onChange(event.target.value)}
        />
      )}
      {error && (
        <p className="field-error" role="alert">
          {error}
        </p>
      )}
    </div>
  );
}

/** Profile, repository and task; then one keystroke. */
export function NewSession() {
  const profiles = useQuery({ queryKey: ["profiles"], queryFn: api.profiles, staleTime: 30_000 });
  if (profiles.error && !profiles.data) {
    return (
      <div className="new">
        <ErrorNote error={asApiError(profiles.error, "Load profiles")}>
          <Button onClick={() => void profiles.refetch()}>Try again</Button>
        </ErrorNote>
      </div>
    );
  }
  if (!profiles.data) return <div className="new" aria-busy="true" />;
  const [first] = profiles.data;
  if (!first) {
    return (
      <div className="new">
        <h1>No profile yet</h1>
        <p className="new-lead">
          A profile says which agent runs, with which model, and what it may reach. Add one to the server's
          configuration file.
        </p>
      </div>
    );
  }
  return (
    <Form profiles={profiles.data} first={profiles.data.find((summary) => !summary.unavailable) ?? first} />
  );
}

function Form({ profiles, first }: { profiles: readonly ProfileSummary[]; first: ProfileSummary }) {
  const client = useQueryClient();
  const [, navigate] = useLocation();
  const { sessions } = useSessionList();
  const [remembered, setRemembered] = useStored<Remembered>("new-session", FORGOTTEN);
  const [task, setTask] = useStored("draft:new", "");
  const current = profiles.find((summary) => summary.profile.name === remembered.profile) ?? first;
  const offered = current.profile.repositories;

  // A profile's first repository is chosen until a person chooses otherwise.
  const [edited, setEdited] = useState<{ source: string; branch: string }>();
  const source = edited?.source ?? (remembered.profile ? remembered.source : (offered[0]?.source ?? ""));
  const branch = edited?.branch ?? (remembered.profile ? remembered.branch : (offered[0]?.branch ?? ""));
  const setRepository = (next: string, nextBranch = "") => setEdited({ source: next, branch: nextBranch });

  const [error, setError] = useState<ApiError>();
  const [sending, setSending] = useState(false);
  const key = useRef(newIdempotencyKey());
  const area = useRef<HTMLTextAreaElement>(null);
  const taskId = useId();

  const settled = useDebounced(source.trim());
  const check = useQuery({
    queryKey: ["repository", settled],
    queryFn: ({ signal }) => api.checkRepository({ source: settled }, signal),
    enabled: settled !== "" && looksWhole(settled),
    staleTime: 15_000,
    retry: false,
  });
  const isChecked = settled === source.trim() && check.data !== undefined;
  const checkProblem = settled === source.trim() && check.error instanceof ApiError ? check.error : undefined;
  const branches = isChecked ? check.data.branches : [];

  // What models there are is known from sessions of the same provider: a runtime tells when it runs.
  const models = useMemo(
    () =>
      sessions.find((session) => session.profile.name === current.profile.name && session.models.length > 0)
        ?.models ?? [],
    [sessions, current.profile.name],
  );
  const resolved = resolveChoice(models, remembered, {
    model: current.profile.model,
    effort: current.profile.effort,
  });

  const tooLong = useDeferredValue(task.length > MAX_BYTES / 4 && new Blob([task]).size > MAX_BYTES);
  const missing = settled !== "" && source.trim() === settled && !looksWhole(settled);
  const errors: Partial<Record<Field, string>> = {};
  if (checkProblem) errors.repository = checkProblem.message;
  if (missing) errors.repository = "Give an absolute path on the server's disk or an https:// URL.";
  if (tooLong) errors.task = "A task holds at most 1 MB. Put more into a file of the repository.";
  if (error) errors[fieldOf(error)] ??= error.message;

  const start = async () => {
    if (sending) return;
    if (!task.trim()) {
      setError(undefined);
      area.current?.focus();
      return setEmpty(true);
    }
    setSending(true);
    setError(undefined);
    const trimmed = source.trim();
    const offeredName = offered.find((repository) => repository.source === trimmed)?.name;
    try {
      const session = await api.createSession(
        {
          profile: current.profile.name,
          repository: trimmed
            ? { source: trimmed, name: offeredName ?? null, branch: branch.trim() || null }
            : null,
          task,
          model: remembered.model ? (resolved.model?.id ?? null) : null,
          effort: remembered.effort ? (resolved.effort ?? null) : null,
        },
        key.current,
      );
      const { model, effort } = remembered;
      setRemembered(
        remember(
          remembered,
          { profile: current.profile.name, source: trimmed, branch: branch.trim(), model, effort },
          offered,
        ),
      );
      setTask("");
      applySession(client, session);
      navigate(`/s/${session.id}`);
    } catch (thrown) {
      const failed = asApiError(thrown, "Start session");
      // A refused request may be sent again as another one; a lost one must stay the same.
      if (failed.status >= 400 && failed.status < 500) key.current = newIdempotencyKey();
      setError(failed);
      setSending(false);
    }
  };
  const [empty, setEmpty] = useState(false);
  if (empty) errors.task = "Describe what the agent should do.";

  useCommands([
    {
      id: "new.start",
      title: "Start session",
      group: "Session",
      keys: ["mod+enter"],
      inText: true,
      run: () => void start(),
    },
  ]);

  const choices = [
    ...offered.map((repository) => choiceOf(repository.source, repository.name, repository.branch)),
    ...remembered.recent
      .filter((recent) => !offered.some((repository) => repository.source === recent))
      .map((recent) => choiceOf(recent)),
  ];
  const hint =
    source.trim() === ""
      ? "The agent starts in an empty folder."
      : check.isFetching && !check.data
        ? "Checking…"
        : isChecked
          ? undefined
          : undefined;

  return (
    <div className="new">
      <h1>New session</h1>
      <div className="new-fields">
        <ProfileField
          profiles={profiles}
          current={current}
          error={errors.profile}
          onChoose={(profile) => {
            setRemembered({ ...remembered, profile, model: null, effort: null });
            const chosen = profiles.find((summary) => summary.profile.name === profile);
            const repository = chosen?.profile.repositories[0];
            if (repository && !edited) setRepository(repository.source, repository.branch ?? "");
          }}
        />
        <RepositoryField
          value={source}
          choices={choices}
          onChange={(next) => {
            setRepository(next);
            setError(undefined);
          }}
          onChoose={(choice) => {
            setRepository(choice.source, choice.branch ?? "");
            setError(undefined);
          }}
          error={errors.repository}
          hint={hint}
        />
        <BranchField
          branches={branches}
          value={branch}
          disabled={source.trim() === ""}
          onChange={(next) => setRepository(source, next)}
          error={errors.branch}
        />
      </div>
      <div className="new-task" data-pane="task">
        <label htmlFor={taskId} className="hidden-text">
          Task
        </label>
        <textarea
          id={taskId}
          ref={area}
          data-pane-focus
          // biome-ignore lint/a11y/noAutofocus: the page is for writing a task
          autoFocus
          placeholder="Describe the task"
          value={task}
          rows={4}
          aria-invalid={errors.task !== undefined}
          aria-describedby={errors.task ? `${taskId}-error` : undefined}
          onChange={(event) => {
            setTask(event.target.value);
            setEmpty(false);
            key.current = newIdempotencyKey();
          }}
          onKeyDown={(event) => {
            if (
              event.key !== "Enter" ||
              event.shiftKey ||
              event.nativeEvent.isComposing ||
              event.metaKey ||
              event.ctrlKey
            )
              return;
            event.preventDefault();
            void start();
          }}
        />
        {errors.task && (
          <p id={`${taskId}-error`} className="field-error" role="alert">
            {errors.task}
          </p>
        )}
        <div className="composer-bar">
          <ModelPickers
            models={models}
            resolved={resolved}
            onModel={(model) =>
              setRemembered({ ...remembered, profile: current.profile.name, source, branch, model })
            }
            onEffort={(effort) =>
              setRemembered({ ...remembered, profile: current.profile.name, source, branch, effort })
            }
          />
          {current.scripted ? (
            <span className="badge">
              <FlaskConical aria-hidden="true" />
              {current.provider_label}
            </span>
          ) : (
            models.length === 0 && <span className="new-provider">{current.provider_label}</span>
          )}
          <span className="spacer" />
          <Button
            look="primary"
            keys="enter"
            disabled={sending || Boolean(current.unavailable) || tooLong}
            onClick={() => void start()}
          >
            {sending ? "Starting…" : "Start session"}
          </Button>
        </div>
      </div>
      {error && errors.form && (
        <ErrorNote error={error}>
          <Button onClick={() => void start()}>Try again</Button>
        </ErrorNote>
      )}
      {current.scripted && (
        <p className="new-lead">
          The demo model follows a script and is no real model: it fixes the demo repository's failing test,
          with a real agent in a real sandbox. Add a provider to the server's configuration to work with a
          real one.
        </p>
      )}
    </div>
  );
}
