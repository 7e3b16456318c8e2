import { Download, File as FileIcon } from "lucide-react";
import { type Attachment, contentUrl, isImage } from "../api/attachments";
import "./attachment-list.css";
import { fileSize } from "./size";

/** Files as they left with a message: images are shown, everything can be downloaded. */
export function AttachmentList({ files }: { files: readonly Attachment[] }) {
  if (files.length === 0) return null;
  return (
    <ul className="sent-files" aria-label="Files sent with this message">
      {files.map((file) => (
        <li key={file.id}>
          {isImage(file.media_type) ? (
            <a
              className="sent-image"
              href={contentUrl(file.id)}
              target="_blank"
              rel="noreferrer"
              aria-label={`${file.name}, opens the image in a new tab`}
            >
              <img src={contentUrl(file.id)} alt={file.name} loading="lazy" />
            </a>
          ) : (
            <a className="sent-file" href={contentUrl(file.id)} download={file.name}>
              <FileIcon size={16} aria-hidden="true" />
              <span className="sent-file-words">
                <span className="truncate" title={file.name}>
                  {file.name}
                </span>
                <span>{fileSize(file.size)}</span>
              </span>
              <Download size={14} aria-hidden="true" />
              <span className="hidden-text">, download</span>
            </a>
          )}
        </li>
      ))}
    </ul>
  );
}

/** The same in a few words, for lists. */
export function AttachmentNames({ files }: { files: readonly Attachment[] }) {
  if (files.length === 0) return null;
  return (
    <ul className="file-names" aria-label="Files of this message">
      {files.map((file) => (
        <li key={file.id}>
          {isImage(file.media_type) ? (
            <img src={contentUrl(file.id)} alt="" />
          ) : (
            <FileIcon size={12} aria-hidden="true" />
          )}
          <span className="truncate" title={file.name}>
            {file.name}
          </span>
          <span>{fileSize(file.size)}</span>
        </li>
      ))}
    </ul>
  );
}
