// A second reader of the log, for tests: it knows nothing of akashi's code and stands on golang.org/x/mod/sumdb
// (note and tlog, the libraries of Go's own checksum database).
//
//	reader -log DIRECTORY -vkey VKEY [-witness VKEY] [-stride N] [-proof FILE -entry HEX]
//
// It opens the checkpoint, reads every tile and every entry, proves and checks every record and the trees of earlier
// sizes, and answers one JSON object. Anything that does not fit ends it with exit code 1 and one line on stderr.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/ioutil"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

// checkpoint reads the three lines of C2SP tlog-checkpoint.
func checkpoint(text string) (string, tlog.Tree, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return "", tlog.Tree{}, errors.New("not three lines")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return "", tlog.Tree{}, errors.New("no size")
	}
	hash, err := tlog.ParseHash(lines[2])
	return lines[0], tlog.Tree{N: size, Hash: hash}, err
}

// witness verifies C2SP tlog-cosignature v1, which note.NewVerifier does not know.
type witness struct {
	name string
	id   uint32
	key  ed25519.PublicKey
}

func (w *witness) Name() string    { return w.name }
func (w *witness) KeyHash() uint32 { return w.id }
func (w *witness) Verify(message, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(signature), message)
	return ed25519.Verify(w.key, []byte(signed), signature[8:])
}

func newWitness(vkey string) (note.Verifier, error) {
	fields := strings.SplitN(vkey, "+", 3)
	if len(fields) != 3 {
		return nil, errors.New("not a vkey")
	}
	raw, err := base64.StdEncoding.DecodeString(fields[2])
	if err != nil || len(raw) != 33 || raw[0] != 4 {
		return nil, errors.New("not a cosigner's key")
	}
	digest := sha256.Sum256([]byte(fields[0] + "\n" + string(raw)))
	id := binary.BigEndian.Uint32(digest[:])
	if fmt.Sprintf("%08x", id) != fields[1] {
		return nil, errors.New("the key id does not belong to the key")
	}
	return &witness{fields[0], id, ed25519.PublicKey(raw[1:])}, nil
}

// tiles serves tlog.TileHashReader from the files of C2SP tlog-tiles.
type tiles struct {
	directory string
	kept      map[string][]byte
}

func (t *tiles) Height() int                         { return height }
func (t *tiles) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (t *tiles) read(path string) ([]byte, error) {
	if data, ok := t.kept[path]; ok {
		return data, nil
	}
	data, err := ioutil.ReadFile(filepath.Join(t.directory, filepath.FromSlash(path)))
	if err == nil {
		t.kept[path] = data
	}
	return data, err
}

func (t *tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		// the library puts the height into the path, C2SP does not
		path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", height), "tile/", 1)
		data, err := t.read(path)
		if err != nil {
			full := tile
			full.W = 1 << height
			data, err = t.read(strings.Replace(full.Path(), fmt.Sprintf("tile/%d/", height), "tile/", 1))
			if err == nil && len(data) == tlog.HashSize<<height {
				data = data[:tile.W*tlog.HashSize]
			}
		}
		if err != nil {
			return nil, err
		}
		if len(data) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%s has %d bytes", path, len(data))
		}
		found = append(found, data)
	}
	return found, nil
}

func entries(t *tiles, size int64) ([][]byte, error) {
	var all [][]byte
	for number := int64(0); number<<height < size; number++ {
		width := size - number<<height
		if width > 1<<height {
			width = 1 << height
		}
		tile := tlog.Tile{H: height, L: 0, N: number, W: int(width)}
		path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/0/", height), "tile/entries/", 1)
		data, err := t.read(path)
		if err != nil {
			return nil, err
		}
		for count := int64(0); count < width; count++ {
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				return nil, fmt.Errorf("%s is cut short", path)
			}
			length := int(binary.BigEndian.Uint16(data))
			all = append(all, data[2:2+length])
			data = data[2+length:]
		}
		if len(data) != 0 {
			return nil, fmt.Errorf("%s has more than %d entries", path, width)
		}
	}
	return all, nil
}

// proofFile checks a C2SP tlog-proof of one entry.
func proofFile(data []byte, entry string, open func([]byte) (tlog.Tree, int, error)) (int64, error) {
	parts := bytes.SplitN(data, []byte("\n\n"), 2)
	lines := strings.Split(string(parts[0]), "\n")
	if len(parts) != 2 || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return 0, errors.New("not a proof file")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil {
		return 0, err
	}
	var proof tlog.RecordProof
	for _, line := range lines[2:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return 0, err
		}
		proof = append(proof, hash)
	}
	tree, _, err := open(parts[1])
	if err != nil {
		return 0, err
	}
	raw, err := hex.DecodeString(entry)
	if err != nil {
		return 0, err
	}
	return index, tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(raw))
}

func run() error {
	directory := flag.String("log", "", "directory of the log's public files")
	vkey := flag.String("vkey", "", "the log's key")
	witnessKey := flag.String("witness", "", "a witness's key")
	stride := flag.Int64("stride", 1, "prove every n-th record and tree")
	proofPath := flag.String("proof", "", "a proof file to check as well")
	entry := flag.String("entry", "", "its entry, hexadecimal")
	flag.Parse()

	logKey, err := note.NewVerifier(*vkey)
	if err != nil {
		return fmt.Errorf("vkey: %w", err)
	}
	keys := []note.Verifier{logKey}
	if *witnessKey != "" {
		key, err := newWitness(*witnessKey)
		if err != nil {
			return fmt.Errorf("witness: %w", err)
		}
		keys = append(keys, key)
	}
	open := func(data []byte) (tlog.Tree, int, error) {
		opened, err := note.Open(data, note.VerifierList(keys...))
		if err != nil {
			return tlog.Tree{}, 0, fmt.Errorf("note: %w", err)
		}
		cosigned, isSigned := 0, false
		for _, signature := range opened.Sigs {
			if signature.Name == logKey.Name() && signature.Hash == logKey.KeyHash() {
				isSigned = true
			} else {
				cosigned++
			}
		}
		origin, tree, err := checkpoint(opened.Text)
		if err == nil && (origin != logKey.Name() || !isSigned) {
			err = errors.New("another log's checkpoint")
		}
		return tree, cosigned, err
	}

	source := &tiles{*directory, map[string][]byte{}}
	signed, err := source.read("checkpoint")
	if err != nil {
		return err
	}
	tree, cosigned, err := open(signed)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	reader := tlog.TileHashReader(tree, source)
	all, err := entries(source, tree.N)
	if err != nil {
		return fmt.Errorf("entries: %w", err)
	}
	paths := map[string][]string{}
	records, trees := 0, 0
	for index := int64(0); index < tree.N; index++ {
		leaf := tlog.RecordHash(all[index])
		if index%*stride != 0 && index != tree.N-1 {
			continue
		}
		proof, err := tlog.ProveRecord(tree.N, index, reader)
		if err != nil {
			return fmt.Errorf("record %d: %w", index, err)
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, leaf); err != nil {
			return fmt.Errorf("record %d: %w", index, err)
		}
		records++
		if index < 3 || index >= tree.N-3 {
			key := strconv.FormatInt(index, 10)
			paths[key] = []string{}
			for _, hash := range proof {
				paths[key] = append(paths[key], hash.String())
			}
		}
		size := index + 1
		old, err := tlog.TreeHash(size, reader)
		if err != nil {
			return fmt.Errorf("tree %d: %w", size, err)
		}
		extension, err := tlog.ProveTree(tree.N, size, reader)
		if err != nil {
			return fmt.Errorf("tree %d: %w", size, err)
		}
		if err := tlog.CheckTree(extension, tree.N, tree.Hash, size, old); err != nil {
			return fmt.Errorf("tree %d: %w", size, err)
		}
		trees++
	}
	// every hash once more, from the entries alone, by the library's own storage rules
	if root, err := fromEntries(all); err != nil || root != tree.Hash {
		return fmt.Errorf("the entries do not lead to the root: %v", err)
	}
	answer := map[string]interface{}{
		"size": tree.N, "root": tree.Hash.String(), "records": records, "trees": trees, "cosigned": cosigned, "paths": paths,
	}
	if *proofPath != "" {
		data, err := ioutil.ReadFile(*proofPath)
		if err != nil {
			return err
		}
		index, err := proofFile(data, *entry, open)
		if err != nil {
			return fmt.Errorf("proof: %w", err)
		}
		answer["proved"] = index
	}
	return json.NewEncoder(os.Stdout).Encode(answer)
}

func fromEntries(all [][]byte) (tlog.Hash, error) {
	var stored []tlog.Hash
	storage := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var found []tlog.Hash
		for _, index := range indexes {
			found = append(found, stored[index])
		}
		return found, nil
	})
	for index, entry := range all {
		more, err := tlog.StoredHashes(int64(index), entry, storage)
		if err != nil {
			return tlog.Hash{}, err
		}
		stored = append(stored, more...)
	}
	return tlog.TreeHash(int64(len(all)), storage)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
