import { useQuery, useQueryClient } from "@tanstack/react-query";
import { ChevronDown, FlaskConical } from "lucide-react";
import { useDeferredValue, useEffect, useId, useMemo, useRef, useState } from "react";
import { useLocation } from "wouter";
import { type ApiError, api, asApiError, newIdempotencyKey } from "../../api/client";
import type { ProfileSummary } from "../../api/types";
import { useCommands } from "../../keys/registry";
import { applySession, useSessionList } from "../../live/sessions";
import { Button } from "../../ui/Button";
import { ErrorNote } from "../../ui/ErrorNote";
import { ChoiceMenu } from "../../ui/Menu";
import { useStored } from "../../ui/storage";
import { AttachButton } from "../attachments/AttachButton";
import { AttachmentChips } from "../attachments/AttachmentChips";
import { draftsOf } from "../attachments/drafts";
import { FileDrop, pasteFiles } from "../attachments/FileDrop";
import { useAttachments, useSendWhenUploaded, waitingLabel } from "../attachments/use-attachments";
import { ModelPickers } from "../composer/ModelPickers";
import { resolveChoice } from "../composer/models";
import { runtimeName } from "../session/status";
import { FolderRows } from "./FolderRows";
import "./new-session.css";
import { choiceOf } from "./RepositoryField";
import { draftFolders, FORGOTTEN, type Remembered, remember, rememberedFolders } from "./remembered";
import { useWarm } from "./use-warm";
import { asked, errorOf, type Folders, offeredFolders } from "./workspaces";

const MAX_BYTES = 1024 * 1024;
/** Where the files of a session that does not exist yet are kept. */
const NEW = "new";

const POLICIES: Record<ProfileSummary["profile"]["approval_policy"], string> = {
  ask_every_time: "asks every time",
  ask_when_risky: "asks when risky",
  autonomous: "never asks",
};

/** Where a problem belongs on this form. */
type Field = "profile" | "task" | "form";
function fieldOf(error: ApiError): Field {
  const pointer = error.pointer ?? "";
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

  // What a profile has on offer is chosen until a person chooses otherwise; that stays with the task.
  const [kept, setEdited] = useStored<Folders | null>("draft:new-folders", null);
  const edited = draftFolders(kept);
  const folders = edited ?? rememberedFolders(remembered) ?? offeredFolders(current.profile);

  const [error, setError] = useState<ApiError>();
  const [sending, setSending] = useState(false);
  const key = useRef(newIdempotencyKey());
  const area = useRef<HTMLTextAreaElement>(null);
  const taskId = useId();

  // A runtime tells its models when it runs: the server remembers them, and sessions have them.
  const models = useMemo(
    () =>
      sessions.find((session) => session.profile.name === current.profile.name && session.models.length > 0)
        ?.models ??
      current.models ??
      [],
    [sessions, current],
  );
  const resolved = resolveChoice(models, remembered, {
    model: current.profile.model,
    effort: current.profile.effort,
  });

  const tooLong = useDeferredValue(task.length > MAX_BYTES / 4 && new Blob([task]).size > MAX_BYTES);
  const errors: Partial<Record<Field, string>> = {};
  if (tooLong) errors.task = "A task holds at most 1 MB. Put more into a file of the repository.";
  const rowError = error && errorOf(error, folders);
  if (error && !rowError) errors[fieldOf(error)] ??= error.message;

  const files = useAttachments(NEW);
  const fileIds = files.done.map((file) => file.id).join(" ");
  // biome-ignore lint/correctness/useExhaustiveDependencies: other files make another request
  useEffect(() => {
    key.current = newIdempotencyKey();
  }, [fileIds]);
  const [typing, setTyping] = useState(false);
  const wanted = {
    profile: current.profile.name,
    ...asked(folders, offered),
    model: remembered.model ? (resolved.model?.id ?? null) : null,
    effort: remembered.effort ? (resolved.effort ?? null) : null,
  };
  useWarm(wanted, typing && !sending && !current.unavailable);
  const startNow = async () => {
    if (sending || files.failed > 0) return;
    if (!task.trim() && files.done.length === 0) {
      setError(undefined);
      area.current?.focus();
      return setEmpty(true);
    }
    setSending(true);
    setError(undefined);
    try {
      const session = await api.createSession(
        {
          ...wanted,
          task,
          ...(files.done.length > 0 && { attachments: files.done.map((file) => file.id) }),
        },
        key.current,
      );
      const { model, effort } = remembered;
      setRemembered(
        remember(remembered, { profile: current.profile.name, ...folders, model, effort }, offered),
      );
      setTask("");
      setEdited(null);
      draftsOf(NEW).take();
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
  const uploads = useSendWhenUploaded(files, () => void startNow(), true);
  const start = () => uploads.send();
  const [empty, setEmpty] = useState(false);
  if (empty) errors.task = "Describe what the agent should do.";

  useCommands([
    {
      id: "new.start",
      title: "Start session",
      group: "Session",
      keys: ["mod+enter"],
      inText: true,
      run: () => start(),
    },
  ]);

  const choices = [
    ...offered.map((repository) => choiceOf(repository.source, repository.name, repository.branch)),
    ...remembered.recent
      .filter((recent) => !offered.some((repository) => repository.source === recent))
      .map((recent) => choiceOf(recent)),
  ];

  return (
    <div className="new">
      <FileDrop scope={NEW} />
      <h1>New session</h1>
      <div className="new-fields">
        <ProfileField
          profiles={profiles}
          current={current}
          error={errors.profile}
          onChoose={(profile) => {
            setRemembered({ ...remembered, profile, model: null, effort: null });
            const chosen = profiles.find((summary) => summary.profile.name === profile);
            if (chosen && !edited) setEdited(offeredFolders(chosen.profile));
          }}
        />
        <FolderRows
          value={folders}
          choices={choices}
          error={rowError}
          onChange={(next) => {
            setEdited(next);
            setError(undefined);
          }}
        />
      </div>
      <div className="new-task" data-pane="task">
        <label htmlFor={taskId} className="hidden-text">
          Task
        </label>
        <AttachmentChips scope={NEW} />
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
          onPaste={(event) => pasteFiles(NEW, event)}
          onChange={(event) => {
            setTask(event.target.value);
            setTyping(event.target.value.trim() !== "");
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
            start();
          }}
        />
        {errors.task && (
          <p id={`${taskId}-error`} className="field-error" role="alert">
            {errors.task}
          </p>
        )}
        {files.failed > 0 && (
          <p className="field-error">Upload the file that failed again, or remove it, to start.</p>
        )}
        <div className="composer-bar">
          <AttachButton scope={NEW} />
          <ModelPickers
            models={models}
            resolved={resolved}
            onModel={(model) =>
              setRemembered({ ...remembered, profile: current.profile.name, ...folders, model })
            }
            onEffort={(effort) =>
              setRemembered({ ...remembered, profile: current.profile.name, ...folders, effort })
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
            disabled={sending || Boolean(current.unavailable) || tooLong || files.failed > 0}
            title={uploads.isWaiting ? "Press to not start yet" : undefined}
            onClick={() => (uploads.isWaiting ? uploads.cancel() : start())}
          >
            {sending ? "Starting…" : uploads.isWaiting ? waitingLabel(files.pending) : "Start session"}
          </Button>
        </div>
      </div>
      {error && errors.form && (
        <ErrorNote error={error}>
          <Button onClick={() => start()}>Try again</Button>
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
