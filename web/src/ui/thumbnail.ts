// A small picture of a film, for those who get it; of photos the server makes one.

/** Pixels of the longer side. */
const SIDE = 320;
/** Milliseconds that a film may take to show its first picture. */
const PATIENCE = 4000;

export async function thumbnailOf(file: Blob): Promise<Blob | undefined> {
  if (!file.type.startsWith('video/')) return undefined;
  const url = URL.createObjectURL(file);
  try {
    const film = document.createElement('video');
    film.muted = true;
    film.preload = 'auto';
    film.src = url;
    await new Promise<void>((resolve, reject) => {
      setTimeout(reject, PATIENCE);
      film.onerror = reject;
      film.onloadeddata = () => resolve();
    });
    const scale = Math.min(1, SIDE / Math.max(film.videoWidth, film.videoHeight, 1));
    const canvas = document.createElement('canvas');
    canvas.width = Math.max(1, Math.round(film.videoWidth * scale));
    canvas.height = Math.max(1, Math.round(film.videoHeight * scale));
    canvas.getContext('2d')?.drawImage(film, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve) => canvas.toBlob((blob) => resolve(blob ?? undefined), 'image/jpeg', 0.8));
  } catch {
    // It goes without.
    return undefined;
  } finally {
    URL.revokeObjectURL(url);
  }
}
