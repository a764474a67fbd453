// A file: on its way to the server, or there.

import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { type Message, UPLOAD, kindOfFile } from '../../engine/model';
import type { Session } from '../../engine/session';
import type { UploadRecord } from '../../engine/uploads';
import { ownPath, readFile } from '../../wire/file';
import { mediaType } from '../../wire/headers';
import { Dialog } from '../Dialog';
import { bytes } from '../format';
import { Close, Down, File } from '../icons';
import { t } from '../strings';
import { Voice } from './Voice';

export function FileContent({ message, session }: { message: Message; session: Session }) {
  if (mediaType(message.contentType) === UPLOAD) return <Waiting message={message} session={session} />;
  const file = readFile(message.text);
  if (!file) return <p class="text quiet">{t('unknownContent', { type: t('file') })}</p>;
  const path = ownPath(file.url);
  const expired = file.until !== undefined && file.until < Date.now();
  const kind = file.voice ? 'voice' : kindOfFile(file.type);
  const seen = path && !expired;
  return (
    <div class="file">
      {seen && kind === 'photo' && <Photo path={path} preview={ownPath(file.thumbnail ?? '') ?? path} name={file.name} />}
      {seen && kind === 'video' && (
        <video controls preload="metadata" src={path} poster={ownPath(file.thumbnail ?? '')} aria-label={file.name} />
      )}
      {seen && (kind === 'voice' || kind === 'audio') && (
        <Voice source={path} seconds={file.seconds} name={kind === 'voice' ? t('voice') : file.name} />
      )}
      {(!seen || (kind !== 'voice' && kind !== 'photo')) && (
        <p class="name">
          {kind === 'file' && <File />}
          <span dir="auto">{file.name}</span>
          <span class="quiet">{bytes(file.size)}</span>
          {expired ? (
            <span class="quiet">{t('expired')}</span>
          ) : path ? (
            <a class="plain" href={path} download={file.name} aria-label={t('download', { name: file.name })}><Down /></a>
          ) : (
            <a href={file.url} target="_blank" rel="noopener noreferrer">{t('elsewhere')}</a>
          )}
        </p>
      )}
    </div>
  );
}

function Photo({ path, preview, name }: { path: string; preview: string; name: string }) {
  const open = useSignal(false);
  return (
    <>
      <button class="photo" onClick={() => (open.value = true)} aria-label={t('openPhoto', { name })}>
        <img src={preview} alt="" loading="lazy" />
      </button>
      {open.value && (
        <Dialog title={name} onClose={() => (open.value = false)} wide>
          <img class="large" src={path} alt={name} />
          <p class="buttons"><a class="button" href={path} download={name} aria-label={t('download', { name })}><Down /></a></p>
        </Dialog>
      )}
    </>
  );
}

function Waiting({ message, session }: { message: Message; session: Session }) {
  const record = JSON.parse(message.text) as UploadRecord;
  const source = useSignal<string | undefined>(undefined);
  const part = session.uploads.progress.value.get(message.id);
  const failed = message.progress === 'failed';
  useEffect(() => {
    if (kindOfFile(record.type) !== 'photo') return;
    let url: string | undefined;
    let gone = false;
    void session.uploads.blob(message.id).then((blob) => {
      if (!blob || gone) return;
      url = URL.createObjectURL(blob);
      source.value = url;
    });
    return () => {
      gone = true;
      if (url) URL.revokeObjectURL(url);
    };
  }, [message.id]);
  const percent = Math.round((part ?? 0) * 100);
  return (
    <div class="file">
      {source.value && <img class="photo" src={source.value} alt="" />}
      <p class="name">
        {!source.value && <File />}
        <span dir="auto">{record.voice ? t('voice') : record.name}</span>
        <span class="quiet">{bytes(record.size)}</span>
        <button class="plain" onClick={() => void session.uploads.cancel(message)} aria-label={t('cancelUpload')}><Close /></button>
      </p>
      {!failed && (
        <>
          <progress max={100} value={percent} aria-label={t('uploading', { percent })} />
          <p class="quiet">{part === undefined ? t('uploadWaits') : t('uploading', { percent })}</p>
        </>
      )}
      {failed && <p class="fault">{reason(message.status ?? 0)}</p>}
    </div>
  );
}

function reason(status: number): string {
  if (status === 413) return t('tooLarge');
  if (status === 403 || status === 507) return t('quotaFull');
  return status === 415 ? t('typeRefused') : t('failedWith', { status });
}
