/* Sphinx's search finds pages that hold every word of a query. A question in words of one's own rarely meets the right one so:
 * from three words on, pages are ranked by the words they do hold. Each counts by how rare it is, three times in a heading.
 */
"use strict";

{
  const all = Search.performTermsSearch;

  Search.performTermsSearch = (words, excluded) =>
    words.size < 3 ? all(words, excluded) : anyOf(words, excluded);

  const anyOf = (words, excluded) => {
    const { docnames, filenames, titles } = Search._index;
    const scores = new Map();
    for (const word of words) {
      const inText = pages("terms", word);
      const inTitle = pages("titleterms", word);
      const holding = new Set([...inText, ...inTitle]);
      const rarity = Math.log(1 + docnames.length / holding.size);
      for (const file of holding) {
        scores.set(file, (scores.get(file) || 0) + rarity * (inTitle.has(file) ? 3 : 1));
      }
    }
    for (const word of excluded) {
      for (const file of [...pages("terms", word), ...pages("titleterms", word)]) scores.delete(file);
    }
    return [...scores].map(([file, score]) => [
      docnames[file], titles[file], "", null, score, filenames[file], SearchResultKind.text,
    ]);
  };

  const pages = (table, word) => {
    const files = Object.hasOwn(Search._index[table], word) ? Search._index[table][word] : [];
    return new Set(files.length === undefined ? [files] : files);
  };
}
