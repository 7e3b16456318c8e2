import { File as FileIcon, RotateCcw, X } from "lucide-react";
import { contentUrl, isImage } from "../../api/attachments";
import { fileSize } from "../../ui/size";
import "./attachment-chips.css";
import { type DraftFile, draftsOf } from "./drafts";
import { useAttachments } from "./use-attachments";

function picture(file: DraftFile): string | undefined {
  if (file.preview) return file.preview;
  return file.attachment && isImage(file.mediaType) ? contentUrl(file.attachment.id) : undefined;
}

function detail(file: DraftFile): string {
  switch (file.status) {
    case "waiting":
      return "Waiting";
    case "uploading":
      return `${Math.floor((100 * file.sent) / Math.max(1, file.size))} % of ${fileSize(file.size)}`;
    case "failed":
      return file.error ?? "Not uploaded";
    default:
      return fileSize(file.size);
  }
}

function Chip({ scope, file }: { scope: string; file: DraftFile }) {
  const store = draftsOf(scope);
  const image = picture(file);
  const failed = file.status === "failed";
  const busy = file.status === "uploading" || file.status === "waiting";
  return (
    <li className={failed ? "file-chip failed" : "file-chip"}>
      {image ? <img src={image} alt="" /> : <FileIcon size={16} aria-hidden="true" />}
      <span className="file-chip-words">
        <span className="truncate" title={file.name}>
          {file.name}
        </span>
        <span className="file-chip-detail" role={failed ? "alert" : undefined}>
          {detail(file)}
        </span>
      </span>
      {failed && store.canRetry(file.key) && (
        <button type="button" aria-label={`Upload ${file.name} again`} onClick={() => store.retry(file.key)}>
          <RotateCcw size={12} aria-hidden="true" />
        </button>
      )}
      <button
        type="button"
        aria-label={busy ? `Cancel the upload of ${file.name}` : `Remove ${file.name}`}
        onClick={() => store.remove(file.key)}
      >
        <X size={12} aria-hidden="true" />
      </button>
      {busy && (
        <progress
          aria-label={`Upload of ${file.name}`}
          max={Math.max(1, file.size)}
          value={file.status === "uploading" ? file.sent : 0}
        />
      )}
    </li>
  );
}

/** Files that leave with the next message. */
export function AttachmentChips({ scope }: { scope: string }) {
  const { files } = useAttachments(scope);
  if (files.length === 0) return null;
  return (
    <ul className="file-chips" aria-label="Files that go with the message">
      {files.map((file) => (
        <Chip key={file.key} scope={scope} file={file} />
      ))}
    </ul>
  );
}
