// Command golang-backend shows the whole life of Kinora's tasks from the side of a Go backend, with the standard
// library alone: it submits a task to each service, a face fusion first as a preview and then, when its user has seen
// the faces, as a generation; it receives the callbacks, verifies their signatures, and prints where the results lie.
//
//	go run . -dist /media/results -video /media/clip.mp4 -picture /media/portrait.jpg
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// submission is one POST, and what shall follow when its task has succeeded.
type submission struct {
	name string
	path string
	task any
	next func(Notice) *submission
}

func main() {
	url := flag.String("ai", "http://localhost:5000", "where Kinora's router listens")
	listen := flag.String("listen", "127.0.0.1:8088", "where this backend receives /api/ai/notify")
	dist := flag.String("dist", "", "folder for the results, inside KINORA_MEDIA_ROOTS")
	video := flag.String("video", "", "a video with a face")
	picture := flag.String("picture", "", "a portrait of a person who consented")
	only := flag.String("only", "upscale,interpo,facefusion,creation", "the services to call")
	first := flag.Int64("first", time.Now().Unix(), "task_id of the first task; one service never gets one twice")
	wait := flag.Duration("wait", 30*time.Minute, "how long to wait for all callbacks")
	flag.Parse()
	secret, token := os.Getenv("KINORA_WEBHOOK_SECRET"), os.Getenv("KINORA_TOKEN")

	// Listen first: a short task may end before the next one is posted.
	receiver := NewReceiver(secret)
	mux := http.NewServeMux()
	mux.Handle("/api/ai/notify", receiver)
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(http.Serve(listener, mux)) }()

	backend := Backend{kinora: NewKinora(*url, token), dist: *dist, waiting: map[int64]*submission{}}
	for _, entry := range all(*dist, *video, *picture, *first) {
		if strings.Contains(","+*only+",", ","+strings.Fields(entry.name)[0]+",") {
			backend.submit(entry)
		}
	}
	deadline := time.After(*wait)
	for len(backend.waiting) > 0 {
		select {
		case notice := <-receiver.Notices:
			backend.handle(notice)
		case <-deadline:
			log.Fatal("not every callback came in time")
		}
	}
	if backend.failed {
		os.Exit(1)
	}
}

// Backend is what a real one keeps in its database: what waits for its callback, by task_id.
type Backend struct {
	kinora  *Kinora
	dist    string
	waiting map[int64]*submission
	failed  bool
}

func (b *Backend) submit(entry *submission) {
	if err := b.kinora.Submit(entry.path, entry.task); err != nil {
		log.Fatal(err)
	}
	b.waiting[taskID(entry.task)] = entry
	fmt.Printf("accepted   %s\n", entry.name)
}

// handle shows a callback and, when its task has succeeded, posts what follows it.
func (b *Backend) handle(notice Notice) {
	entry := b.waiting[notice.TaskID]
	if entry == nil {
		fmt.Printf("unknown    %d\n", notice.TaskID) // of an earlier run of this program: taken, so that it comes no more
		return
	}
	delete(b.waiting, notice.TaskID)
	if !show(entry.name, notice, b.dist) {
		b.failed = true
	} else if entry.next != nil {
		b.submit(entry.next(notice))
	}
}

// all returns the first task of each service; each has a task_id of its own.
func all(dist, video, picture string, first int64) []*submission {
	preview := FaceFusion{
		TaskID: first + 2, Programe: 0, SourceFile: picture, TargetFile: video, ReferenceFaceDistance: 0.5, DistDir: dist,
	}
	generate := func(Notice) *submission {
		// A user would choose among the notice's ReferenceImages; the index of his choice is the position. The
		// generation has the task_id of its preview: by it Kinora knows which faces the user saw.
		task := preview
		task.Programe, task.ReferenceFacePosition = 1, 0
		return &submission{name: "facefusion generation", path: "/api/ai/facefusion", task: task}
	}
	return []*submission{
		{"upscale", "/api/ai/upscale", Upscale{TaskID: first, VideoURL: video, Ratio: 2, DistDir: dist}, nil},
		{"interpo", "/api/ai/interpo", Interpo{TaskID: first + 1, VideoURL: video, Rate: 2, DistDir: dist}, nil},
		{"facefusion preview", "/api/ai/facefusion", preview, generate},
		{"creation", "/api/ai/creation", Creation{
			TaskID: first + 3, Category: 2, ImageURL: picture, FPS: 24, Movement: 1, Guidance: 12,
			Camera: "zoom in", DistDir: dist,
		}, nil},
	}
}

func taskID(task any) int64 {
	switch task := task.(type) {
	case Upscale:
		return task.TaskID
	case Interpo:
		return task.TaskID
	case FaceFusion:
		return task.TaskID
	case Creation:
		return task.TaskID
	}
	panic(fmt.Sprintf("no task: %T", task))
}

// show prints one callback and tells whether it reports a success whose files are all there.
func show(name string, notice Notice, dist string) bool {
	if notice.ErrCode != 0 {
		fmt.Printf("failed     %s: %s\n", name, notice.ErrMsg)
		return false
	}
	complete := true
	for _, file := range append([]string{notice.VideoURL, notice.PreviewImage}, notice.ReferenceImages...) {
		if file == "" {
			continue
		}
		path := filepath.Join(dist, file)
		if _, err := os.Stat(path); err != nil {
			fmt.Printf("missing    %s: %v\n", name, err)
			complete = false
			continue
		}
		fmt.Printf("delivered  %s: %s\n", name, path)
	}
	return complete
}
